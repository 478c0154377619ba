# SPDX-License-Identifier: Apache-2.0
"""What is promised of rows that a newer release wrote, as in a rolling upgrade: left to it, read as they are, written back as they were."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wherry.db.repositories import server_groups as group_records
from wherry.model import migration, operation, server, server_group, states
from wherry.testing.store_contract import harness as harnesses

_HIBERNATE = """INSERT INTO intents (operation_id, kind, request_id, requested_at)
    SELECT id, 'hibernate', 'req-newer', created_at FROM operations WHERE id = :id"""
_DAYDREAM = """INSERT INTO reports (operation_id, epoch, sequence, kind, host, body, received_at)
    SELECT id, 1, 1, 'daydreamed', 'host-a', '{"mood": "fine"}', created_at FROM operations WHERE id = :id"""


async def _say(harness: harnesses.Harness, said: str, **named: str) -> None:
    for name, value in named.items():
        said = said.replace(f":{name}", f"'{value}'")
    await harness.engine.run_sync(lambda connection: connection.exec_driver_sql(said))


async def _resized(harness: harnesses.Harness) -> operation.Operation:
    """Have a server wait for its resize to be confirmed or reverted."""
    moved = await harness.make_owned(request=migration.ColdMigrationRequest())
    change = server.ServerChange(clear_task=True, vm_state=server.VmState.RESIZED)
    last = operation.Transition(event=states.Event.TAKEN_IN, step=operation.StepName.DONE, server=change)
    return await harness.advance(moved, states.Event.MOVE_STARTED, states.Event.MOVED, last)


async def _settle(
    harness: harnesses.Harness, moved: operation.Operation, request: migration.ConfirmRequest | migration.RevertRequest
) -> operation.Operation:
    resized = await harness.server(moved.instance_uuid)
    asked = {"request_id": "req-settle", "user_id": "asker", "project_id": "asking"}
    return await harness.store.run(lambda uow: uow.operations.accept_after(moved, resized, request, **asked))


class NewerOperationContract:
    """Operations that a newer release began or moved on."""

    @pytest.mark.parametrize(
        "newer",
        [
            "UPDATE operations SET kind = 'evacuation', request = '{\"kind\": \"evacuation\"}'",
            "UPDATE operations SET step = 'warm_up'",
            "UPDATE migrations SET status = 'pausing'",
        ],
        ids=["kind", "step", "status"],
    )
    async def test_what_only_a_newer_release_knows_is_left_to_it(self, harness: harnesses.Harness, newer: str) -> None:
        accepted, _ = await harness.accept(await harness.make_server())
        await harness.store.run(lambda uow: uow.conductors.renew("one", "control", 3600))
        assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == [accepted.id]
        await _say(harness, newer)
        assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == []
        assert await harness.store.run(lambda uow: uow.operations.claim(accepted.id, "one")) is None

    @pytest.mark.parametrize("newer", ["UPDATE operations SET step = 'warm_up'", "UPDATE migrations SET status = 'pausing'"])
    async def test_what_was_mine_before_a_newer_release_moved_it_is_mine_no_more(self, harness: harnesses.Harness, newer: str) -> None:
        owned = await harness.make_owned(conductor="one")
        assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == [owned.id]
        await _say(harness, newer)
        assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == []
        assert await harness.store.run(lambda uow: uow.operations.claim(owned.id, "one")) is None

    @pytest.mark.parametrize("request_type", [migration.ConfirmRequest, migration.RevertRequest])
    async def test_what_goes_on_with_a_migration_in_a_status_of_a_newer_release_is_left_to_it(
        self, harness: harnesses.Harness, request_type: type[migration.ConfirmRequest] | type[migration.RevertRequest]
    ) -> None:
        moved = await _resized(harness)
        settling = await _settle(harness, moved, request_type(migration_id=moved.id))
        assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == [settling.id]
        await _say(harness, "UPDATE migrations SET status = 'unpacking'")
        assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == []
        assert await harness.store.run(lambda uow: uow.operations.claim(settling.id, "conductor-1")) is None

    async def test_a_migration_that_ended_in_a_status_of_a_newer_release_keeps_its_server_from_nothing(
        self, harness: harnesses.Harness
    ) -> None:
        owned = await harness.make_owned()
        done = operation.Transition(event=states.Event.CHECK_FAILED, server=server.ServerChange(clear_task=True))
        await harness.advance(owned, done)
        await _say(harness, "UPDATE migrations SET status = 'archived'")
        again, _ = await harness.accept(await harness.server(owned.instance_uuid))
        assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == [again.id]

    async def test_an_operation_of_a_newer_release_is_read_as_it_is(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        newer = """UPDATE operations SET kind = 'evacuation', step = 'warm_up', request = '{"kind": "evacuation", "how": ["far"]}'"""
        await _say(harness, newer)
        read = await harness.store.read(lambda uow: uow.operations.open_of_instance(owned.instance_uuid))
        assert read is not None and read == await harness.store.read(lambda uow: uow.operations.get(owned.id))
        assert (read.kind.value, read.step.value, read.migration_uuid) == ("evacuation", "warm_up", None)
        assert read.request == operation.NewerRequest(kind="evacuation")
        assert read.kind not in list(operation.OperationKind)

    async def test_an_operation_goes_on_after_those_of_a_newer_release_and_above_their_epochs(self, harness: harnesses.Harness) -> None:
        moved = await _resized(harness)
        settling = await _settle(harness, moved, migration.RevertRequest(migration_id=moved.id))
        await _say(
            harness, "UPDATE operations SET kind = 'unwind', request = '{\"kind\": \"unwind\"}', epoch = 7 WHERE id = :id", id=settling.id
        )
        assert await harness.store.read(lambda uow: uow.operations.last_of_migration(moved.id)) == dataclasses.replace(moved, epoch=7)

    async def test_a_request_that_no_release_wrote_is_an_error(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        await _say(harness, 'UPDATE operations SET request = \'{"kind": "confirm_resize"}\'')
        with pytest.raises(ValueError, match="migration_id"):
            await harness.store.read(lambda uow: uow.operations.get(owned.id))

    async def test_clients_that_wait_are_not_held_up_by_a_step_of_a_newer_release(self, harness: harnesses.Harness) -> None:
        known, newer = await harness.make_owned(), await harness.make_owned()
        await harness.advance(known, states.Event.CHECKS_PASSED)
        await _say(harness, "UPDATE operations SET step = 'warm_up' WHERE id = :newer", newer=newer.id)
        await _say(harness, "UPDATE migrations SET status = 'pausing' WHERE uuid = :newer", newer=newer.id)
        assert await harness.store.read(lambda uow: uow.operations.waiting_for([known.id, newer.id])) == {
            known.id: (states.Status.QUEUED, None)
        }


class NewerFactContract:
    """What a newer release asks of an operation, or knows of its transfer."""

    async def test_an_intent_of_a_newer_release_is_left_to_it(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        await _say(harness, _HIBERNATE, id=owned.id)
        assert await harness.store.read(lambda uow: uow.operations.pending_intents(owned.id)) == []
        assert await harness.store.read(lambda uow: uow.operations.operations_with_pending_intents()) == []
        kept = await harness.store.run(lambda uow: uow.operations.record_intent(owned.id, operation.IntentKind.ABORT, request_id="r"))
        assert await harness.store.read(lambda uow: uow.operations.pending_intents(owned.id)) == [kept]
        # People see both.
        shown = await harness.store.read(lambda uow: uow.overview.pending_intents())
        assert [one.kind.value for one in shown] == ["hibernate", "abort"]

    async def test_intents_that_an_earlier_release_left_at_an_end_are_found(self, harness: harnesses.Harness) -> None:
        ended, going = await harness.make_owned(), await harness.make_owned()
        for one in (ended, going):
            await harness.store.run(_recording(one.id))
        await harness.advance(ended, states.Event.CHECK_FAILED)
        ids = [ended.id, going.id]
        assert await harness.store.read(lambda uow: uow.operations.ended_among(ids)) == [ended.id]

    async def test_a_report_of_a_newer_release_is_read_among_the_others(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        await _say(harness, _DAYDREAM, id=owned.id)
        read = await harness.store.read(lambda uow: uow.reports.list(owned.id))
        assert [(one.kind.value, one.body) for one in read] == [("daydreamed", {"mood": "fine"})]
        assert read[0].kind not in list(operation.ReportKind)


class NewerRecordContract:
    """What the API shows."""

    async def test_a_migration_is_read_as_it_is_and_beside_others(self, harness: harnesses.Harness) -> None:
        owned, other = await harness.make_owned(), await harness.make_owned()
        newer = "UPDATE migrations SET status = 'pausing', migration_type = 'teleport' WHERE uuid = :id"
        await _say(harness, newer, id=owned.id)
        read = await harness.migration(owned)
        assert (read.status.value, str(read.status), read.migration_type.value) == ("pausing", "pausing", "teleport")
        assert read.status not in states.TERMINAL | states.IN_PROGRESS
        assert {one.uuid for one in await harness.store.read(lambda uow: uow.migrations.list())} == {owned.id, other.id}
        shown = await harness.store.read(lambda uow: uow.overview.open_operations())
        assert {one.status and one.status.value for one in shown} == {"pausing", "accepted"}

    async def test_a_server_is_read_as_it_is_and_keeps_its_states_through_a_change(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        await _say(harness, "UPDATE servers SET vm_state = 'shelved', task_state = 'unshelving', power_state = 99")
        read = await harness.server(made.uuid)
        assert read.task_state is not None
        assert (read.vm_state.value, read.task_state.value, int(read.power_state)) == ("shelved", "unshelving", 99)
        changed = await harness.store.run(lambda uow: uow.servers.update(read, name="other", vm_state=read.vm_state))
        assert changed == dataclasses.replace(read, name="other", generation=changed.generation, updated_at=changed.updated_at)
        assert await harness.server(made.uuid) == changed

    async def test_a_group_with_a_policy_of_a_newer_release_is_read_as_it_is(self, harness: harnesses.Harness) -> None:
        made = await harness.store.run(
            lambda uow: uow.server_groups.create(
                group_records.NewGroup(name="g", project_id="p", user_id="u", policy=server_group.Policy.AFFINITY)
            )
        )
        await _say(harness, "UPDATE server_groups SET policy = 'rack-affinity'")
        assert (await harness.store.read(lambda uow: uow.server_groups.get(made.uuid))).policy.value == "rack-affinity"


def _recording(operation_id: str) -> Any:
    return lambda uow: uow.operations.record_intent(operation_id, operation.IntentKind.ABORT, request_id=f"of-{operation_id}")
