# SPDX-License-Identifier: Apache-2.0
"""What is promised of transitions: all of one or nothing, and the events that tell of them."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

from wherry import errors
from wherry.model import deadline, instance_actions, migration, operation, progress, server, states
from wherry.testing.store_contract import harness as harnesses

_Event = states.Event
_Name = instance_actions.EventName
_FAILED = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="no", traceback="Traceback …")


def _start(name: _Name, host: str = "host-b", request_id: str | None = None) -> instance_actions.EventStart:
    return instance_actions.EventStart(name=name, host=host, request_id=request_id)


def _finish(
    name: _Name, host: str = "host-b", outcome: instance_actions.EventOutcome = instance_actions.SUCCEEDED
) -> instance_actions.EventFinish:
    return instance_actions.EventFinish(name=name, host=host, outcome=outcome)


class TransitionContract:
    """Operation, migration and server move together."""

    async def test_a_success_moves_through_every_status_with_its_stamps(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        owned = await harness.advance(owned, _Event.ADMITTED)
        started_at = harness.clock.advance(1)
        budget = deadline.resolve(
            requested_timeout_seconds=60,
            requested_action=None,
            configured_timeout_seconds_per_gib=800,
            configured_action=deadline.TimeoutAction.ABORT,
            data=2,
        )
        deadline_at = started_at + datetime.timedelta(seconds=60)
        started = operation.Transition(event=_Event.TRANSFER_STARTED, deadline=budget, deadline_at=deadline_at)
        owned = await harness.advance(owned, started)
        running = await harness.migration(owned)
        assert (running.status, running.started_at, running.finished_at) == (states.Status.RUNNING, started_at, None)
        assert (running.deadline, running.deadline_at) == (budget, deadline_at)
        finished_at = harness.clock.advance(1)
        arrived = server.ServerChange(host="host-b", node="host-b.example", clear_task=True, progress=0)
        owned = await harness.advance(owned, _Event.POST_COPY_STARTED, operation.Transition(event=_Event.ARRIVED, server=arrived))
        done = await harness.migration(owned)
        assert (done.status, done.started_at, done.finished_at) == (states.Status.COMPLETED, started_at, finished_at)
        assert (owned.step, owned.finished_at) == (operation.StepName.DONE, finished_at)
        assert await harness.store.read(lambda uow: uow.operations.get(owned.id)) == owned
        after = await harness.server(owned.instance_uuid)
        assert (after.host, after.node, after.task_state, after.updated_at) == ("host-b", "host-b.example", None, finished_at)

    async def test_a_transfer_began_when_it_is_said_to_have(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        owned = await harness.advance(owned, _Event.ADMITTED)
        began = harness.clock.now()
        harness.clock.advance(30)
        owned = await harness.advance(owned, operation.Transition(event=_Event.TRANSFER_STARTED, started_at=began))
        running = await harness.migration(owned)
        assert (running.started_at, running.deadline_at) == (began, None)

    async def test_the_last_counters_are_stored_with_a_step(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        counters = progress.Progress(memory_total_bytes=1 << 30, memory_processed_bytes=1 << 29, percentage=50, downtime_ms=7)
        owned = await harness.advance(owned, operation.Transition(step=operation.StepName.FINISH, progress=counters))
        assert (await harness.migration(owned)).progress == counters
        owned = await harness.advance(owned, operation.Transition(step=operation.StepName.FINISH))
        assert (await harness.migration(owned)).progress == counters

    async def test_a_deadline_that_is_none_has_no_time(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        by = deadline.Origin.CONFIGURATION
        some = deadline.Deadline(timeout_seconds=60, timeout_origin=by, on_timeout=deadline.TimeoutAction.ABORT, on_timeout_origin=by)
        none = dataclasses.replace(some, timeout_seconds=0)
        at = harness.clock.now() + datetime.timedelta(seconds=60)
        owned = await harness.advance(owned, operation.Transition(deadline=some, deadline_at=at))
        assert (await harness.migration(owned)).deadline_at == at
        owned = await harness.advance(owned, operation.Transition(deadline=none))
        ended = await harness.migration(owned)
        assert (ended.deadline, ended.deadline_at) == (none, None)

    async def test_what_a_transition_does_not_name_stays(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        reason = migration.Reason(slug="waiting", message="for a slot")
        plan = migration.DrivenPlan(
            source="host-a", destination="host-b", refused=(migration.RefusedHost(host="c", slug="s", message="m"),)
        )
        owned = await harness.advance(owned, operation.Transition(reason=reason, dest_node="node-b", source_node="node-a", plan=plan))
        before = await harness.migration(owned)
        owned = await harness.advance(owned, operation.Transition(step=operation.StepName.ADMIT))
        assert await harness.migration(owned) == before
        assert (before.reason, before.dest_node, before.source_node, before.dest_compute) == (reason, "node-b", "node-a", "host-b")
        stored = await harness.store.read(lambda uow: uow.operations.get(owned.id))
        assert (stored.plan, stored.step) == (plan, operation.StepName.ADMIT)
        owned = await harness.advance(owned, operation.Transition(clear_reason=True))
        assert (await harness.migration(owned)).reason is None

    async def test_a_transition_returns_what_is_stored(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        harness.clock.advance(1)
        transition = operation.Transition(event=_Event.CHECKS_PASSED, step=operation.StepName.ADMIT, dest_compute="host-b")
        moved, moving = await harness.store.run(lambda uow: uow.operations.advance(owned, transition))
        assert moved == await harness.store.read(lambda uow: uow.operations.get(owned.id))
        assert moving == await harness.migration(owned)
        assert (moved.generation, moved.updated_at) == (owned.generation + 1, harness.clock.now())

    async def test_an_illegal_event_changes_nothing_at_all(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        before = (await harness.migration(owned), await harness.server(owned.instance_uuid), await harness.action(owned))
        change = operation.Transition(
            event=_Event.ARRIVED, step=operation.StepName.FINISH, server=server.ServerChange(host="host-b"), started=(_start(_Name.FINISH),)
        )
        with pytest.raises(errors.IllegalTransition, match="accepted"):
            await harness.advance(owned, change)
        assert (await harness.migration(owned), await harness.server(owned.instance_uuid), await harness.action(owned)) == before
        assert await harness.store.read(lambda uow: uow.operations.get(owned.id)) == owned

    async def test_an_ended_operation_takes_no_transition(self, harness: harnesses.Harness) -> None:
        ended = await harness.advance(await harness.make_owned(), _Event.CHECK_FAILED)
        with pytest.raises(errors.StaleWrite):
            await harness.advance(ended, operation.Transition(step=operation.StepName.ADMIT))

    async def test_the_same_transition_twice_is_stale_the_second_time(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        await harness.advance(owned, _Event.CHECKS_PASSED)
        with pytest.raises(errors.StaleWrite):
            await harness.advance(owned, _Event.CHECKS_PASSED)

    async def test_a_lock_set_by_a_person_meanwhile_does_not_stop_the_operation(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        read = await harness.server(owned.instance_uuid)
        await harness.store.run(lambda uow: uow.servers.update(read, locked_by="owner"))
        await harness.advance(owned, operation.Transition(event=_Event.CHECK_FAILED, server=server.ServerChange(clear_task=True)))
        after = await harness.server(owned.instance_uuid)
        assert (after.locked_by, after.task_state) == ("owner", None)
        with pytest.raises(errors.StaleWrite):
            await harness.store.run(lambda uow: uow.servers.update(read, locked_by=None))

    async def test_a_transition_takes_five_statements_and_the_last_one_six(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_queued("host-a", "host-b")
        owned = await harness.advance(owned, operation.Transition(event=_Event.ADMITTED, started=(_start(_Name.PREPARE),)))
        middle = operation.Transition(
            event=_Event.TRANSFER_STARTED,
            step=operation.StepName.TRANSFER,
            plan=owned.plan,
            finished=(_finish(_Name.PREPARE),),
            started=(_start(_Name.TRANSFER, "host-a"),),
        )
        (owned, _), statements = await harness.statements_of(lambda uow: uow.operations.advance(owned, middle))
        assert statements <= 5
        last = operation.Transition(
            event=_Event.ARRIVED,
            finished=(_finish(_Name.TRANSFER, "host-a"),),
            server=server.ServerChange(host="host-b", clear_task=True),
        )
        _, statements = await harness.statements_of(lambda uow: uow.operations.advance(owned, last))
        assert statements <= 5


class AtOnceContract:
    """A transition in one statement, where the database can write so, is the same transition."""

    async def test_it_stores_all_of_it(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        opening = operation.Transition(started=(_start(_Name.CHECK_SOURCE), _start(_Name.CHECK_DESTINATION)))
        owned, _ = await harness.store.put(lambda uow: uow.operations.advance(owned, opening))
        harness.clock.advance(1)
        reason = migration.Reason(slug="s", message="m")
        last = operation.Transition(
            event=_Event.CHECK_FAILED,
            reason=reason,
            server=server.ServerChange(clear_task=True, progress=0),
            finished=(_finish(_Name.CHECK_SOURCE, outcome=_FAILED),),
        )
        ended, record = await harness.store.put(lambda uow: uow.operations.advance(owned, last))
        assert ended == await harness.store.read(lambda uow: uow.operations.get(owned.id))
        assert record == await harness.migration(owned)
        assert (record.status, record.reason, ended.step) == (states.Status.ERROR, reason, operation.StepName.DONE)
        assert (await harness.server(owned.instance_uuid)).task_state is None
        story = await harness.action(owned)
        assert {event.name: event.result for event in story.events} == {
            _Name.CHECK_SOURCE: instance_actions.Result.ERROR, _Name.CHECK_DESTINATION: instance_actions.Result.SUCCESS,
        }  # fmt: skip
        assert (story.message, story.updated_at) == ("Error", harness.clock.now())

    async def test_what_is_stale_or_illegal_changes_nothing(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        change = operation.Transition(
            event=_Event.ARRIVED, server=server.ServerChange(host="host-b"), started=(_start(_Name.FINISH),), dest_compute="host-b"
        )
        before = (await harness.migration(owned), await harness.server(owned.instance_uuid), await harness.action(owned))
        with pytest.raises(errors.IllegalTransition):
            await harness.store.put(lambda uow: uow.operations.advance(owned, change))
        old = dataclasses.replace(owned, generation=owned.generation - 1)
        passed = dataclasses.replace(change, event=_Event.CHECKS_PASSED)
        for stale in (old, dataclasses.replace(owned, epoch=owned.epoch + 1), dataclasses.replace(owned, owner="another")):
            with pytest.raises(errors.StaleWrite):
                await harness.store.put(lambda uow, stale=stale: uow.operations.advance(stale, passed))  # type: ignore[misc]  # bound at once
        unknown = dataclasses.replace(passed, started=(_start(_Name.ABORT, request_id="no"),))
        with pytest.raises(errors.ActionNotFound):
            await harness.store.put(lambda uow: uow.operations.advance(owned, unknown))
        assert (await harness.migration(owned), await harness.server(owned.instance_uuid), await harness.action(owned)) == before
        assert await harness.store.read(lambda uow: uow.operations.get(owned.id)) == owned

    async def test_an_event_that_is_closed_and_opened_again_has_two_rows(self, harness: harnesses.Harness) -> None:
        owned = await harness.advance(await harness.make_owned(), operation.Transition(started=(_start(_Name.CHECK_SOURCE),)))
        again = operation.Transition(finished=(_finish(_Name.CHECK_SOURCE, outcome=_FAILED),), started=(_start(_Name.CHECK_SOURCE),))
        await harness.store.put(lambda uow: uow.operations.advance(owned, again))
        newest, oldest = (await harness.action(owned)).events
        assert (newest.finished_at, oldest.result) == (None, instance_actions.Result.ERROR)

    async def test_it_is_one_statement_where_one_can_write_several_tables(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        change = operation.Transition(event=_Event.CHECKS_PASSED, plan=owned.plan, started=(_start(_Name.PREPARE),))
        before = harness.engine.statements
        await harness.store.put(lambda uow: uow.operations.advance(owned, change))
        assert harness.engine.statements - before == (1 if harness.engine.dialect.writes_at_once else 4)


class EventContract:
    """Stages tell how they went, once."""

    async def test_events_are_stored_with_the_transition_and_shown_newest_first(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        first = harness.clock.advance(1)
        owned = await harness.advance(owned, operation.Transition(started=(_start(_Name.CHECK_DESTINATION),)))
        second = harness.clock.advance(1)
        change = operation.Transition(finished=(_finish(_Name.CHECK_DESTINATION),), started=(_start(_Name.CHECK_SOURCE, "host-a"),))
        await harness.advance(owned, change)
        source, destination = (await harness.action(owned)).events
        assert (source.name, source.host, source.started_at, source.finished_at, source.result) == (
            _Name.CHECK_SOURCE, "host-a", second, None, None,
        )  # fmt: skip
        assert (destination.started_at, destination.finished_at, destination.result) == (first, second, instance_actions.Result.SUCCESS)
        story = await harness.action(owned)
        assert (story.updated_at, story.message) == (second, None)

    async def test_opening_twice_and_closing_twice_changes_nothing(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        opening = operation.Transition(started=(_start(_Name.CHECK_DESTINATION),))
        owned = await harness.advance(owned, opening)
        opened = (await harness.action(owned)).events
        harness.clock.advance(1)
        owned = await harness.advance(owned, opening)
        assert (await harness.action(owned)).events == opened
        owned = await harness.advance(owned, operation.Transition(finished=(_finish(_Name.CHECK_DESTINATION, outcome=_FAILED),)))
        closed = (await harness.action(owned)).events
        harness.clock.advance(1)
        await harness.advance(owned, operation.Transition(finished=(_finish(_Name.CHECK_DESTINATION),)))
        assert (await harness.action(owned)).events == closed
        (event,) = closed
        assert (event.result, event.details, event.traceback) == (instance_actions.Result.ERROR, "no", "Traceback …")
        assert (await harness.action(owned)).message == "Error"

    async def test_a_stage_tried_on_two_hosts_and_again_on_one_has_three_rows(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        for host, outcome in (("host-b", _FAILED), ("host-c", _FAILED), ("host-b", instance_actions.SUCCEEDED)):
            owned = await harness.advance(owned, operation.Transition(started=(_start(_Name.CHECK_DESTINATION, host),)))
            owned = await harness.advance(owned, operation.Transition(finished=(_finish(_Name.CHECK_DESTINATION, host, outcome),)))
        told = [(event.host, event.result and event.result.value) for event in reversed((await harness.action(owned)).events)]
        assert told == [("host-b", "Error"), ("host-c", "Error"), ("host-b", "Success")]

    async def test_finish_and_start_of_the_same_stage_in_one_transition_make_a_second_row(self, harness: harnesses.Harness) -> None:
        owned = await harness.advance(await harness.make_owned(), operation.Transition(started=(_start(_Name.CHECK_SOURCE),)))
        again = operation.Transition(finished=(_finish(_Name.CHECK_SOURCE, outcome=_FAILED),), started=(_start(_Name.CHECK_SOURCE),))
        owned = await harness.advance(owned, again)
        newest, oldest = (await harness.action(owned)).events
        assert (newest.finished_at, oldest.result) == (None, instance_actions.Result.ERROR)

    async def test_several_finishes_in_one_transition_keep_their_own_outcomes(self, harness: harnesses.Harness) -> None:
        both = (_start(_Name.FINISH, "host-b"), _start(_Name.TRANSFER, "host-a"))
        owned = await harness.advance(await harness.make_owned(), operation.Transition(started=both))
        ends = (_finish(_Name.FINISH, "host-b"), _finish(_Name.TRANSFER, "host-a", _FAILED))
        owned = await harness.advance(owned, operation.Transition(finished=ends))
        told = {event.name: (event.result, event.details) for event in (await harness.action(owned)).events}
        assert told == {_Name.FINISH: (instance_actions.Result.SUCCESS, None), _Name.TRANSFER: (instance_actions.Result.ERROR, "no")}

    async def test_the_end_closes_what_is_still_open_and_leaves_what_is_closed(self, harness: harnesses.Harness) -> None:
        three = (_start(_Name.CONDUCTOR_LIVE_MIGRATE, "control"), _start(_Name.CHECK_DESTINATION), _start(_Name.CHECK_SOURCE))
        owned = await harness.advance(await harness.make_owned(), operation.Transition(started=three))
        owned = await harness.advance(owned, operation.Transition(finished=(_finish(_Name.CHECK_DESTINATION),)))
        harness.clock.advance(1)
        named = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="named")
        closing = instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details="closing")
        last = operation.Transition(event=_Event.CHECK_FAILED, finished=(_finish(_Name.CHECK_SOURCE, outcome=named),), closing=closing)
        owned = await harness.advance(owned, last)
        story = await harness.action(owned)
        assert {event.name: event.details for event in story.events} == {
            _Name.CONDUCTOR_LIVE_MIGRATE: "closing", _Name.CHECK_DESTINATION: None, _Name.CHECK_SOURCE: "named",
        }  # fmt: skip
        assert all(event.finished_at is not None for event in story.events)
        assert story.message == "Error"

    async def test_the_end_leaves_events_of_other_actions_open(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        uuid, abort = owned.instance_uuid, instance_actions.ActionName.LIVE_MIGRATION_CANCEL
        await harness.store.run(
            lambda uow: uow.actions.record(instance_uuid=uuid, request_id="req-abort", action=abort, user_id="u", project_id="p")
        )
        owned = await harness.advance(owned, operation.Transition(started=(_start(_Name.ABORT, "host-a", "req-abort"),)))
        await harness.advance(owned, _Event.CHECK_FAILED)
        (event,) = (await harness.store.read(lambda uow: uow.actions.get(uuid, "req-abort"))).events
        assert event.finished_at is None

    async def test_an_event_of_an_unknown_request_stores_nothing(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        with pytest.raises(errors.ActionNotFound):
            await harness.advance(owned, operation.Transition(event=_Event.CHECKS_PASSED, started=(_start(_Name.ABORT, request_id="no"),)))
        assert await harness.store.read(lambda uow: uow.operations.get(owned.id)) == owned
        assert (await harness.migration(owned)).status is states.Status.ACCEPTED
