# SPDX-License-Identifier: Apache-2.0
"""What is promised of lists of migrations and actions, of counters, reports and chores."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest

from wherry import errors
from wherry.db import uow as uows
from wherry.db.repositories import actions as action_records
from wherry.db.repositories import migrations as records
from wherry.model import instance_actions, migration, operation, progress, server, states
from wherry.testing.store_contract import harness as harnesses


class MigrationListContract:
    """Filters, order, pages, counters."""

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, "2 1 0"),
            ({"is_newest_first": False}, "0 1 2"),
            ({"host": "host-b"}, "1 0"),
            ({"host": "host-a"}, "2 0"),
            ({"source_compute": "host-a"}, "2 0"),
            ({"dest_compute": "host-b"}, "0"),
            ({"statuses": [states.Status.QUEUED]}, "1 0"),
            ({"statuses": []}, ""),
            ({"project_id": "asking"}, "2 1 0"),
            ({"project_id": "project"}, ""),
            ({"user_id": "asker", "statuses": [states.Status.ERROR]}, "2"),
            ({"limit": 1}, "2"),
        ],
    )
    async def test_a_filter_shows_what_fits(self, harness: harnesses.Harness, query: dict[str, Any], found: str) -> None:
        made = [await harness.make_queued("host-a", "host-b"), await harness.make_queued("host-b", "host-c")]
        made.append(await harness.advance(await harness.make_owned(host="host-a"), states.Event.CHECK_FAILED))
        listed = await harness.store.read(lambda uow: uow.migrations.list(records.MigrationQuery(**query)))
        assert [one.uuid for one in listed] == [made[int(number)].id for number in found.split()]

    async def test_a_servers_migration_is_found_by_its_number_and_by_no_other_servers(self, harness: harnesses.Harness) -> None:
        mine, other = await harness.make_owned(), await harness.make_owned()
        moving = await harness.migration(mine)
        assert await harness.store.read(lambda uow: uow.migrations.get(mine.instance_uuid, moving.id)) == moving
        with pytest.raises(errors.MigrationNotFound):
            await harness.store.read(lambda uow: uow.migrations.get(other.instance_uuid, moving.id))
        with pytest.raises(errors.NotFound):
            await harness.store.read(lambda uow: uow.migrations.get_by_uuid("nobody"))

    async def test_a_move_waits_since_its_last_operation_with_its_refused_confirmations(self, harness: harnesses.Harness) -> None:
        moving = await harness.make_owned(host="host-a", request=migration.ColdMigrationRequest())
        started = operation.Transition(event=states.Event.MOVE_STARTED, dest_compute="host-b")
        resting = operation.Transition(
            step=operation.StepName.DONE,
            event=states.Event.TAKEN_IN,
            server=server.ServerChange(host="host-b", vm_state=server.VmState.RESIZED, clear_task=True),
        )
        assert await harness.store.read(lambda uow: uow.migrations.unconfirmed()) == []
        moved = await harness.advance(moving, started, states.Event.MOVED, resting)
        (first,) = await harness.store.read(lambda uow: uow.migrations.unconfirmed())
        assert (first.uuid, first.source_compute, first.dest_compute) == (moved.id, "host-a", "host-b")
        assert (first.vm_state, first.rested_at, first.refusals) == (server.VmState.RESIZED, harness.clock.now(), 0)
        harness.clock.advance(60)
        asked = {"request_id": "req-confirm", "user_id": "u", "project_id": "p"}
        request = migration.ConfirmRequest(migration_id=moved.id)
        waiting = await harness.server(moved.instance_uuid)

        async def confirm(uow: uows.UnitOfWork) -> operation.Operation:
            accepted = await uow.operations.accept_after(await uow.operations.last_of_migration(moved.id), waiting, request, **asked)
            claimed = await uow.operations.claim(accepted.id, "conductor-1")
            assert claimed is not None
            return claimed

        given_up = operation.Transition(step=operation.StepName.DONE, event=states.Event.GIVEN_UP)
        await harness.advance(await harness.store.run(confirm), states.Event.CONFIRM_STARTED, given_up)
        (second,) = await harness.store.read(lambda uow: uow.migrations.unconfirmed())
        assert (second.rested_at, second.refusals) == (harness.clock.now(), 1)

    async def test_in_progress_is_what_has_not_ended(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        done = operation.Transition(event=states.Event.CHECK_FAILED, server=server.ServerChange(clear_task=True))
        await harness.advance(owned, done)
        again, _ = await harness.accept(await harness.server(owned.instance_uuid))
        listed = await harness.store.read(lambda uow: uow.migrations.in_progress_of(owned.instance_uuid))
        assert [one.uuid for one in listed] == [again.id]
        both = await harness.store.read(_listing(records.MigrationQuery(instance_uuid=owned.instance_uuid)))
        assert [one.uuid for one in both] == [again.id, owned.id]

    async def test_pages_join_to_the_whole_list_when_all_were_made_at_once(self, harness: harnesses.Harness) -> None:
        for _ in range(5):
            await harness.make_owned()
        for is_newest_first in (True, False):
            whole = await harness.store.read(_listing(records.MigrationQuery(is_newest_first=is_newest_first)))
            pages: list[Any] = []
            for _ in range(3):
                marker = pages[-1].uuid if pages else None
                query = records.MigrationQuery(limit=2, marker=marker, is_newest_first=is_newest_first)
                pages += await harness.store.read(_listing(query))
            assert pages == whole
        with pytest.raises(errors.MarkerNotFound):
            await harness.store.read(_listing(records.MigrationQuery(marker="nobody")))

    async def test_changes_since_sees_transitions_and_counters(self, harness: harnesses.Harness) -> None:
        still, moved, counted = [await harness.make_owned() for _ in range(3)]
        since = harness.clock.advance(1)
        await harness.advance(moved, states.Event.CHECKS_PASSED)
        seen = records.Counted(uuid=counted.id, host=counted.plan.source, counters=progress.Progress(memory_total_bytes=1))
        await harness.store.run(lambda uow: uow.migrations.record_progress([seen]))
        listed = await harness.store.read(_listing(records.MigrationQuery(changes_since=since)))
        assert {one.uuid for one in listed} == {moved.id, counted.id}
        before = await harness.store.read(_listing(records.MigrationQuery(changes_before=since - datetime.timedelta(seconds=1))))
        assert [one.uuid for one in before] == [still.id]

    async def test_counters_of_many_are_stored_and_make_nobodys_write_stale(self, harness: harnesses.Harness) -> None:
        moving = [await harness.make_owned() for _ in range(3)]
        ended = await harness.advance(await harness.make_owned(), states.Event.CHECK_FAILED)
        counters = progress.Progress(memory_total_bytes=100, memory_processed_bytes=80, memory_remaining_bytes=40, expected_downtime_ms=7)
        batch = [records.Counted(uuid=one.id, host=one.plan.source, counters=counters) for one in (*moving, ended)]
        _, statements = await harness.statements_of(lambda uow: uow.migrations.record_progress(batch))
        # Read, to go on from what was stored; then migrations, then servers.
        assert statements == 3
        for one in moving:
            assert (await harness.migration(one)).progress == progress.following(None, counters)
            assert (await harness.server(one.instance_uuid)).progress == 60
            await harness.advance(one, states.Event.CHECKS_PASSED)
        assert (await harness.migration(ended)).progress is None
        assert (await harness.server(ended.instance_uuid)).progress == 0
        await harness.store.run(lambda uow: uow.migrations.record_progress([]))

    async def test_counters_of_another_host_than_the_source_are_left_out(self, harness: harnesses.Harness) -> None:
        first, second = [await harness.make_owned() for _ in range(2)]
        lie, truth = progress.Progress(memory_total_bytes=666), progress.Progress(memory_total_bytes=100)
        batch = [
            records.Counted(uuid=first.id, host="elsewhere", counters=lie),
            records.Counted(uuid=second.id, host=second.plan.source, counters=truth),
            records.Counted(uuid=second.id, host="elsewhere", counters=lie),
        ]
        await harness.store.run(lambda uow: uow.migrations.record_progress(batch))
        assert (await harness.migration(first)).progress is None
        assert (await harness.migration(second)).progress == progress.following(None, truth)
        await harness.store.run(lambda uow: uow.migrations.record_progress(batch[:1]))
        assert (await harness.migration(first)).progress is None


def _storing(report: operation.Report) -> Any:
    return lambda uow: uow.reports.store(report)


def _listing(query: records.MigrationQuery) -> Any:
    return lambda uow: uow.migrations.list(query)


class ActionContract:
    """Actions beside those of operations."""

    async def _record(self, harness: harnesses.Harness, uuid: str, request_id: str) -> instance_actions.InstanceAction:
        action = instance_actions.ActionName.LOCK
        return await harness.store.run(
            lambda uow: uow.actions.record(instance_uuid=uuid, request_id=request_id, action=action, user_id="u", project_id="p")
        )

    async def test_an_action_is_recorded_once(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        first = await self._record(harness, made.uuid, "req-1")
        harness.clock.advance(1)
        assert await self._record(harness, made.uuid, "req-1") == first
        assert first.action == "lock"
        with pytest.raises(errors.ActionNotFound):
            await harness.store.read(lambda uow: uow.actions.get(made.uuid, "req-2"))

    async def test_actions_are_listed_newest_first_in_pages_and_by_change(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        other = await harness.make_server()
        await self._record(harness, other.uuid, "req-other")
        for number in range(5):
            await self._record(harness, made.uuid, f"req-{number}")
        since = harness.clock.advance(1)
        start = instance_actions.EventStart(name=instance_actions.EventName.ABORT, host="host-a")
        await harness.store.run(lambda uow: uow.actions.start_event(made.uuid, "req-1", start))

        async def listed(**query: Any) -> list[str]:
            asked = action_records.ActionQuery(instance_uuid=made.uuid, **query)
            return [one.request_id for one in await harness.store.read(lambda uow: uow.actions.list(asked))]

        assert await listed() == ["req-4", "req-3", "req-2", "req-1", "req-0"]
        assert await listed(limit=2, marker="req-3") == ["req-2", "req-1"]
        assert await listed(changes_since=since) == ["req-1"]
        assert "req-1" not in await listed(changes_before=since - datetime.timedelta(seconds=1))
        with pytest.raises(errors.MarkerNotFound):
            await listed(marker="req-other")

    async def test_an_event_is_opened_and_closed_outside_a_transition(self, harness: harnesses.Harness) -> None:
        made = await harness.make_server()
        await self._record(harness, made.uuid, "req-1")
        name = instance_actions.EventName.ABORT
        await harness.store.run(
            lambda uow: uow.actions.start_event(made.uuid, "req-1", instance_actions.EventStart(name=name, host="host-a"))
        )
        finish = instance_actions.EventFinish(name=name, host="host-a", outcome=instance_actions.SUCCEEDED)
        await harness.store.run(lambda uow: uow.actions.finish_event(made.uuid, "req-1", finish))
        story = await harness.store.read(lambda uow: uow.actions.get(made.uuid, "req-1"))
        assert [(event.name, event.result) for event in story.events] == [(name, instance_actions.Result.SUCCESS)]
        with pytest.raises(errors.ActionNotFound):
            await harness.store.run(lambda uow: uow.actions.finish_event(made.uuid, "req-2", finish))


class ReportContract:
    """Facts are kept once, chores until they are done."""

    def _report(self, harness: harnesses.Harness, of: str, epoch: int, sequence: int) -> operation.Report:
        return operation.Report(
            operation_id=of,
            epoch=epoch,
            sequence=sequence,
            kind=operation.ReportKind.TRANSFER_STARTED,
            host="host-a",
            body={"elapsed_seconds": 0.5, "nested": {"a": [1, None]}},
            received_at=harness.clock.now(),
        )

    async def test_a_doubled_report_is_one_fact_and_the_first_stays(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        first = self._report(harness, owned.id, 1, 1)
        assert await harness.store.run(lambda uow: uow.reports.store(first))
        harness.clock.advance(1)
        assert not await harness.store.run(lambda uow: uow.reports.store(self._report(harness, owned.id, 1, 1)))
        assert await harness.store.read(lambda uow: uow.reports.list(owned.id)) == [first]

    async def test_a_report_in_one_statement_is_the_sources_own_or_takes_more(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        report = self._report(harness, owned.id, 1, 1)
        strange = dataclasses.replace(report, host="host-b", sequence=2)

        async def at_once(one: operation.Report) -> tuple[bool, bool]:
            async def unit(uow: uows.UnitOfWork) -> tuple[bool, bool]:
                if await uow.reports.store_at_once(one):
                    return True, True
                return False, one.host == "host-a" and await uow.reports.store(one)

            return await harness.store.put(unit)

        is_fast = harness.engine.dialect.writes_at_once
        assert await at_once(report) == (is_fast, True)
        assert await at_once(report) == (False, False)
        assert await at_once(strange) == (False, False)
        assert await harness.store.read(lambda uow: uow.reports.list(owned.id)) == [report]

    async def test_reports_are_counted_for_the_conductor_that_drives(self, harness: harnesses.Harness) -> None:
        mine, ended = await harness.make_owned(conductor="one"), await harness.make_owned(conductor="one")
        await harness.make_owned(conductor="one")
        other = await harness.make_owned(conductor="two")
        for of in (mine, ended, other):
            await harness.store.run(_storing(self._report(harness, of.id, 1, 1)))
        await harness.store.run(_storing(self._report(harness, mine.id, 1, 2)))
        await harness.advance(ended, states.Event.CHECK_FAILED)
        assert await harness.store.read(lambda uow: uow.reports.counts_of("one")) == {mine.id: 2}

    async def test_reports_come_in_the_order_of_epoch_and_sequence(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        for epoch, sequence in ((2, 1), (1, 10), (1, 9)):
            await harness.store.run(_storing(self._report(harness, owned.id, epoch, sequence)))

        async def listed(after: tuple[int, int] | None) -> list[tuple[int, int]]:
            found = await harness.store.read(lambda uow: uow.reports.list(owned.id, after))
            return [(one.epoch, one.sequence) for one in found]

        assert await listed(None) == [(1, 9), (1, 10), (2, 1)]
        assert await listed((1, 9)) == [(1, 10), (2, 1)]
        assert await listed((2, 1)) == []

    async def test_a_report_of_an_unknown_operation_is_refused(self, harness: harnesses.Harness) -> None:
        with pytest.raises(errors.NotFound):
            await harness.store.run(lambda uow: uow.reports.store(self._report(harness, "nobody", 1, 1)))

    async def test_a_chore_is_owed_once_until_it_is_done(self, harness: harnesses.Harness) -> None:
        owned = await harness.make_owned()
        body: dict[str, object] = {"epoch": 1, "probes": []}
        owing = [await harness.store.run(lambda uow: uow.chores.add(owned.id, "host-b", "RollBackDestination", body)) for _ in range(2)]
        assert owing == [True, False]
        await harness.store.run(lambda uow: uow.chores.add(owned.id, "host-a", "FinishSource", body))
        (chore,) = await harness.store.read(lambda uow: uow.chores.list("host-b"))
        assert (chore.operation_id, chore.command, chore.body) == (owned.id, "RollBackDestination", body)
        assert await harness.store.read(lambda uow: uow.chores.list("host-b", owned.id)) == [chore]
        assert await harness.store.read(lambda uow: uow.chores.list("host-b", "of another")) == []
        await harness.store.run(lambda uow: uow.chores.remove(chore.id))
        assert [one.host for one in await harness.store.read(lambda uow: uow.chores.list())] == ["host-a"]

    async def test_what_a_later_owner_owes_takes_the_place_of_the_earlier(self, harness: harnesses.Harness) -> None:
        """A host that has obeyed the later owner refuses the earlier one's command, and its cleaning would count as done."""
        owned = await harness.make_owned()

        async def owe(epoch: int) -> tuple[bool, int, dict[str, object]]:
            body: dict[str, object] = {"epoch": epoch, "probes": []}
            is_new = await harness.store.run(lambda uow: uow.chores.add(owned.id, "host-b", "RollBackDestination", body))
            (chore,) = await harness.store.read(lambda uow: uow.chores.list("host-b"))
            return is_new, chore.id, chore.body

        (is_new, first, body), (is_newer, second, newer) = await owe(1), await owe(2)
        assert (is_new, is_newer, body["epoch"], newer["epoch"]) == (True, True, 1, 2)
        # Who is paying the earlier one takes nothing of the later away.
        assert second != first
        # One that lost the operation meanwhile is late.
        assert await owe(1) == (False, second, newer)
