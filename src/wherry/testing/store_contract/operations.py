# SPDX-License-Identifier: Apache-2.0
"""What is promised of operations: accepted once, owned by one, and of the intents raised against them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wherry import errors
from wherry.db import uow as uows
from wherry.model import deadline, instance_actions, migration, operation, power, server, states
from wherry.testing.store_contract import harness as harnesses

_ABORT = operation.IntentKind.ABORT


class AcceptContract:
    """A request becomes rows."""

    async def test_accepting_writes_operation_migration_action_and_task_state(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server(host="host-a")
        request = migration.LiveMigrationRequest(host="host-b", timeout_seconds=9, on_timeout=deadline.TimeoutAction.FORCE_COMPLETE)
        harness.clock.advance(1)
        accepted, moving = await harness.accept(made, request=request, request_id="req-x")
        assert await harness.store.read(lambda uow: uow.operations.get(accepted.id)) == accepted
        assert (accepted.request, accepted.step, accepted.owner) == (request, operation.StepName.SELECT_DESTINATION, None)
        assert await harness.migration(accepted) == moving
        assert (moving.status, moving.source_compute, moving.dest_compute) == (states.Status.ACCEPTED, "host-a", None)
        assert (moving.user_id, moving.project_id) == ("asker", "asking")
        story = await harness.action(accepted)
        assert (story.action, story.request_id, story.started_at, story.events) == ("live-migration", "req-x", harness.clock.now(), ())
        after = await harness.server(made.uuid)
        assert (after.task_state, after.generation) == (server.TaskState.MIGRATING, made.generation + 1)
        assert await harness.store.read(lambda uow: uow.operations.open_of_instance(made.uuid)) == accepted

    async def test_accepting_a_server_that_was_changed_since_is_refused_and_leaves_nothing(self, harness: harnesses.Harness) -> None:
        read = await harness.make_server()
        await harness.store.run(lambda uow: uow.servers.update(read, name="changed"))
        with pytest.raises(errors.StaleWrite):
            await harness.accept(read)
        assert await harness.store.read(lambda uow: uow.operations.claimable(9)) == []
        assert await harness.store.read(lambda uow: uow.migrations.list()) == []
        assert (await harness.server(read.uuid)).task_state is None

    async def test_a_server_has_one_operation_at_a_time(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        await harness.accept(made)
        with pytest.raises(errors.StaleWrite):
            await harness.accept(await harness.server(made.uuid))
        # Even when the task_state was reset beside the operation.
        freed = await harness.server(made.uuid)
        freed = await harness.store.run(lambda uow: uow.servers.update(freed, task_state=None, in_operation=True))
        with pytest.raises(errors.StaleWrite):
            await harness.accept(freed)
        assert len(await harness.store.read(lambda uow: uow.migrations.list())) == 1

    async def test_a_server_may_migrate_again_after_the_end(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        done = operation.Transition(event=states.Event.CHECK_FAILED, server=server.ServerChange(clear_task=True))
        await harness.advance(owned, done)
        again, _ = await harness.accept(await harness.server(owned.instance_uuid))
        assert await harness.store.read(lambda uow: uow.operations.open_of_instance(owned.instance_uuid)) == again

    async def test_accepting_takes_at_most_five_statements_with_the_read(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()

        async def unit(uow: uows.UnitOfWork) -> None:
            read = await uow.servers.get(made.uuid)
            request = migration.LiveMigrationRequest()
            await uow.operations.accept(read, request, request_id="req-1", user_id="asker", project_id="asking")

        _, statements = await harness.statements_of(unit)
        assert statements <= 5

    async def test_a_live_migration_can_be_put_and_is_refused_like_any_other(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        asked = {"request_id": "req-1", "user_id": "asker", "project_id": "asking"}
        accepted, moving = await harness.store.put(lambda uow: uow.operations.accept(made, migration.LiveMigrationRequest(), **asked))
        assert await harness.store.look(lambda uow: uow.operations.get(accepted.id)) == accepted
        assert await harness.migration(accepted) == moving
        assert (await harness.action(accepted)).action == "live-migration"
        # Its task_state was taken away, by which alone it would seem free.
        held = await harness.server(made.uuid)
        freed = await harness.store.run(lambda uow: uow.servers.update(held, task_state=None, in_operation=True))
        with pytest.raises(errors.StaleWrite):
            await harness.store.put(
                lambda uow: uow.operations.accept(freed, migration.LiveMigrationRequest(), **asked | {"request_id": "x"})
            )
        assert (await harness.server(made.uuid)) == freed
        assert len(await harness.store.read(lambda uow: uow.migrations.list())) == 1

    async def test_a_server_of_which_another_host_keeps_a_part_is_not_live_migrated(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server(host="host-a")
        request = migration.ColdMigrationRequest()
        asked = {"request_id": "req-cold", "user_id": "asker", "project_id": "asking"}
        accepted, _ = await harness.store.run(lambda uow: uow.operations.accept(made, request, **asked))
        done = operation.Transition(
            event=states.Event.TAKEN_IN, step=operation.StepName.DONE, server=server.ServerChange(clear_task=True, host="host-b")
        )
        moved = await harness.advance(accepted, states.Event.MOVE_STARTED, states.Event.MOVED, done)
        rested = await harness.server(made.uuid)
        assert rested.task_state is None and moved.finished_at is not None
        with pytest.raises(errors.StaleWrite):
            await harness.accept(rested)
        assert await harness.server(made.uuid) == rested
        assert [one.uuid for one in await harness.store.read(lambda uow: uow.migrations.list())] == [accepted.id]

    async def test_a_power_action_has_no_migration_and_ends_with_its_last_step(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server(host="host-a")
        request = power.PowerRequest(action=power.PowerAction.STOP)
        asked = {"request_id": "req-x", "user_id": "asker", "project_id": "asking"}
        accepted, moving = await harness.store.run(lambda uow: uow.operations.accept(made, request, **asked))
        assert moving is None and await harness.store.read(lambda uow: uow.migrations.list()) == []
        assert await harness.store.read(lambda uow: uow.operations.get(accepted.id)) == accepted
        assert (accepted.kind, accepted.request, accepted.plan.source) == (operation.OperationKind.POWER, request, "host-a")
        assert (await harness.server(made.uuid)).task_state is server.TaskState.POWERING_OFF
        assert (await harness.action(accepted)).action == "stop"
        await harness.store.run(lambda uow: uow.operations.record_intent(accepted.id, _ABORT, request_id="req-y"))
        started = instance_actions.EventStart(name=instance_actions.EventName.STOP, host="host-a")
        going = await harness.advance(accepted, operation.Transition(step=operation.StepName.CHANGE_POWER, started=(started,)))
        assert going.finished_at is None
        off = server.ServerChange(clear_task=True, vm_state=server.VmState.STOPPED)
        done = await harness.advance(going, operation.Transition(step=operation.StepName.DONE, server=off))
        assert (done.step, done.finished_at) == (operation.StepName.DONE, harness.clock.now())
        after = await harness.server(made.uuid)
        assert (after.vm_state, after.task_state) == (server.VmState.STOPPED, None)
        assert [event.result for event in (await harness.action(accepted)).events] == [instance_actions.Result.SUCCESS]
        with pytest.raises(errors.NotFound):
            await harness.store.run(lambda uow: uow.operations.record_intent(accepted.id, _ABORT, request_id="req-z"))

    async def test_one_query_says_how_far_many_operations_are(self, harness: harnesses.Harness) -> None:
        refused = await harness.make_owned()
        waiting = await harness.make_owned()
        reason = migration.Reason(slug="no_valid_host", message="none", remedy="add one")
        await harness.advance(refused, operation.Transition(event=states.Event.CHECK_FAILED, reason=reason))
        found, statements = await harness.statements_of(lambda uow: uow.operations.waiting_for([refused.id, waiting.id, "nobody"]))
        assert found == {
            refused.id: (states.Status.ERROR, reason),
            waiting.id: (states.Status.ACCEPTED, None),
        }
        assert statements == 1


class ClaimContract:
    """One owner at a time, by lease."""

    async def _renew(self, harness: harnesses.Harness, name: str, lease_seconds: float = 3600) -> bool:
        return await harness.store.run(lambda uow: uow.conductors.renew(name, "control", lease_seconds))

    async def _claim(self, harness: harnesses.Harness, of: operation.Operation, name: str) -> operation.Operation | None:
        return await harness.store.run(lambda uow: uow.operations.claim(of.id, name))

    async def test_nobodys_operation_is_claimed_once(self, harness: harnesses.Harness) -> None:
        accepted, _ = await harness.accept(await harness.make_server())
        await self._renew(harness, "one")
        await self._renew(harness, "two")
        assert await harness.store.read(lambda uow: uow.operations.claimable(9)) == [accepted.id]
        claimed = await self._claim(harness, accepted, "one")
        assert claimed is not None
        assert (claimed.owner, claimed.epoch, claimed.generation) == ("one", 1, 1)
        assert await self._claim(harness, accepted, "two") is None
        assert await harness.store.read(lambda uow: uow.operations.claimable(9)) == []
        assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == [claimed.id]

    async def test_claiming_what_is_mine_changes_nothing(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(conductor="one")
        assert await self._claim(harness, owned, "one") == owned

    async def test_an_expired_owner_is_succeeded_and_fenced_by_the_epoch(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(conductor="one")
        await self._renew(harness, "one", lease_seconds=-1)
        await self._renew(harness, "two")
        assert await harness.store.read(lambda uow: uow.operations.claimable(9)) == [owned.id]
        taken = await self._claim(harness, owned, "two")
        assert taken is not None
        assert (taken.owner, taken.epoch, taken.generation) == ("two", owned.epoch + 1, owned.generation + 1)
        # The old owner's lease lives again, but the operation is another's now.
        assert not await self._renew(harness, "one")
        with pytest.raises(errors.StaleWrite):
            await harness.advance(owned, states.Event.CHECKS_PASSED)
        assert (await harness.migration(owned)).status is states.Status.ACCEPTED
        await harness.advance(taken, states.Event.CHECKS_PASSED)

    async def test_each_of_generation_owner_and_epoch_fences_alone(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(conductor="one")
        wrongs: list[dict[str, Any]] = [
            {"generation": owned.generation - 1},
            {"owner": "two"},
            {"owner": None},
            {"epoch": owned.epoch - 1},
        ]
        for wrong in wrongs:
            with pytest.raises(errors.StaleWrite):
                await harness.advance(dataclasses.replace(owned, **wrong), states.Event.CHECKS_PASSED)
        assert (await harness.migration(owned)).status is states.Status.ACCEPTED

    async def test_a_conductor_that_left_is_succeeded_at_once(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(conductor="one")
        await self._renew(harness, "two")
        await harness.store.run(lambda uow: uow.conductors.remove("one"))
        assert await self._claim(harness, owned, "two") is not None

    async def test_released_operations_are_anybodys(self, harness: harnesses.Harness) -> None:
        owned = [await harness.make_owned(conductor="one") for _ in range(2)]
        assert await harness.store.run(lambda uow: uow.operations.release("one")) == 2
        assert set(await harness.store.read(lambda uow: uow.operations.claimable(9))) == {one.id for one in owned}
        await self._renew(harness, "two")
        assert await self._claim(harness, owned[0], "two") is not None

    async def test_a_conductor_without_a_lease_claims_nothing(self, harness: harnesses.Harness) -> None:
        accepted, _ = await harness.accept(await harness.make_server())
        with pytest.raises(errors.LeaseLost):
            await self._claim(harness, accepted, "nobody")
        await self._renew(harness, "one", lease_seconds=-1)
        with pytest.raises(errors.LeaseLost):
            await self._claim(harness, accepted, "one")
        assert await harness.store.read(lambda uow: uow.operations.claimable(9)) == [accepted.id]

    async def test_an_ended_operation_is_not_claimed(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned(conductor="one")
        await harness.advance(owned, states.Event.CHECK_FAILED)
        assert await self._claim(harness, owned, "one") is None
        assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == []

    async def _take_up(
        self, harness: harnesses.Harness, of: operation.Operation, name: str
    ) -> tuple[operation.Operation, migration.Migration, bool] | None:
        start = instance_actions.EventStart(name=instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE, host="control")
        return await harness.store.put(lambda uow: uow.operations.take_up(of.id, name, start))

    async def test_what_is_to_be_checked_is_taken_up_with_its_event_and_its_migration(self, harness: harnesses.Harness) -> None:
        accepted, moving = await harness.accept(await harness.make_server())
        await self._renew(harness, "one")
        harness.clock.advance(1)
        before = harness.engine.statements
        taken = await self._take_up(harness, accepted, "one")
        statements = harness.engine.statements - before
        assert taken is not None
        claimed, read, is_asked = taken
        assert (claimed.owner, claimed.epoch, claimed.generation) == ("one", 1, 1)
        assert claimed == await harness.store.read(lambda uow: uow.operations.get(accepted.id))
        assert (read, is_asked) == (moving, False)
        action = await harness.action(accepted)
        assert [(one.name, one.host, one.started_at) for one in action.events] == [
            (instance_actions.EventName.CONDUCTOR_LIVE_MIGRATE.value, "control", harness.clock.now())
        ]
        assert action.updated_at == harness.clock.now()
        assert statements == 1 or not harness.engine.dialect.writes_at_once

    async def test_taking_up_again_changes_nothing(self, harness: harnesses.Harness) -> None:
        accepted, _ = await harness.accept(await harness.make_server())
        await self._renew(harness, "one")
        taken = await self._take_up(harness, accepted, "one")
        assert await self._take_up(harness, accepted, "one") == taken
        assert len((await harness.action(accepted)).events) == 1

    async def test_taking_up_says_that_somebody_wants_something(self, harness: harnesses.Harness) -> None:
        accepted, _ = await harness.accept(await harness.make_server())
        await self._renew(harness, "one")
        await harness.store.run(lambda uow: uow.operations.record_intent(accepted.id, operation.IntentKind.ABORT, request_id="req-abort"))
        taken = await self._take_up(harness, accepted, "one")
        assert taken is not None
        assert taken[2]

    async def test_only_what_is_free_and_still_to_be_checked_is_taken_up(self, harness: harnesses.Harness) -> None:
        await self._renew(harness, "two")
        owned = await harness.make_owned(conductor="one")
        assert await self._take_up(harness, owned, "two") is None
        await self._renew(harness, "one", lease_seconds=-1)
        queued = await harness.advance(owned, operation.Transition(event=states.Event.CHECKS_PASSED, step=operation.StepName.ADMIT))
        assert await self._take_up(harness, queued, "two") is None
        assert (await harness.action(owned)).events == ()
        with pytest.raises(errors.LeaseLost):
            await self._take_up(harness, (await harness.accept(await harness.make_server()))[0], "nobody")

    async def test_a_lease_is_said_to_be_live_until_it_runs_out(self, harness: harnesses.Harness) -> None:
        assert not await self._renew(harness, "one")
        assert await self._renew(harness, "one")
        await self._renew(harness, "two", lease_seconds=-1)
        known = await harness.store.read(lambda uow: uow.conductors.list())
        assert {one.id: one.is_live for one in known} == {"one": True, "two": False}
        assert await harness.store.run(lambda uow: uow.conductors.remove_expired(0)) == 1
        assert [one.id for one in await harness.store.read(lambda uow: uow.conductors.list())] == ["one"]


class IntentContract:
    """Aborts and force-completes are kept until somebody answers for them."""

    async def test_an_intent_is_pending_until_it_is_acknowledged(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        kept = await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, _ABORT, request_id="req-abort"))
        assert await harness.store.read(lambda uow: uow.operations.pending_intents(owned.id)) == [kept]
        assert await harness.store.read(lambda uow: uow.operations.operations_with_pending_intents()) == [owned.id]
        assert await harness.store.run(lambda uow: uow.operations.acknowledge_intent(kept))
        assert not await harness.store.run(lambda uow: uow.operations.acknowledge_intent(kept))
        assert await harness.store.read(lambda uow: uow.operations.pending_intents(owned.id)) == []
        assert await harness.store.read(lambda uow: uow.operations.operations_with_pending_intents()) == []

    async def test_an_intent_outlives_the_operation(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, _ABORT, request_id="req-abort"))
        await harness.advance(owned, states.Event.CHECK_FAILED)
        assert await harness.store.read(lambda uow: uow.operations.operations_with_pending_intents()) == [owned.id]

    async def test_a_status_that_is_not_allowed_refuses_the_intent(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        allowed = frozenset({states.Status.RUNNING})
        with pytest.raises(errors.InvalidMigrationState, match=r"is accepted\. Cannot abort live migration while"):
            await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, _ABORT, request_id="r", allowed=allowed))
        await harness.advance(owned, states.Event.CHECK_FAILED)
        with pytest.raises(errors.InvalidMigrationState, match="is error"):
            await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, _ABORT, request_id="r"))
        with pytest.raises(errors.NotFound):
            await harness.store.run(lambda uow: uow.operations.record_intent("nobody", _ABORT, request_id="r"))
        assert await harness.store.read(lambda uow: uow.operations.operations_with_pending_intents()) == []

    async def test_an_end_alone_is_stored_while_nobody_wants_anything(self, harness: harnesses.Harness) -> None:
        for is_asked in (False, True):
            owned = await harness.make_owned()
            if is_asked:
                await harness.store.run(lambda uow, of=owned: uow.operations.record_intent(of.id, _ABORT, request_id="r"))  # type: ignore[misc]  # bound at once

            async def end(uow: uows.UnitOfWork, of: operation.Operation = owned) -> tuple[bool, int]:
                await uow.operations.advance(of, operation.Transition(event=states.Event.CHECK_FAILED))
                return (True, 0) if uow.session.is_single else (False, len(await uow.operations.pending_intents(of.id)))

            is_fast = harness.engine.dialect.writes_at_once and not is_asked
            assert await harness.store.put(end) == (is_fast, int(is_asked))
            assert (await harness.migration(owned)).status is states.Status.ERROR

    async def test_acknowledging_closes_the_event_of_the_intents_own_action(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        name, uuid = instance_actions.EventName.ABORT, owned.instance_uuid

        async def ask(uow: uows.UnitOfWork) -> operation.Intent:
            action = instance_actions.ActionName.LIVE_MIGRATION_CANCEL
            await uow.actions.record(instance_uuid=uuid, request_id="req-abort", action=action, user_id="u", project_id="p")
            await uow.actions.start_event(uuid, "req-abort", instance_actions.EventStart(name=name, host="host-a"))
            return await uow.operations.record_intent(owned.id, _ABORT, request_id="req-abort")

        kept = await harness.store.run(ask)
        outcome = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="completed before the abort")
        finish = instance_actions.EventFinish(name=name, host="host-a", outcome=outcome)
        harness.clock.advance(1)
        await harness.store.run(lambda uow: uow.operations.acknowledge_intent(kept, finish))
        story = await harness.store.read(lambda uow: uow.actions.get(uuid, "req-abort"))
        (event,) = story.events
        assert (story.message, event.result, event.details) == ("Error", instance_actions.Result.ERROR, "completed before the abort")
        assert event.finished_at == harness.clock.now()
        assert (await harness.action(owned)).message is None
