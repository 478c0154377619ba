# SPDX-License-Identifier: Apache-2.0
"""The journal's files: locked, whole, found again, forgotten in time."""

from __future__ import annotations

import asyncio
import datetime
import pathlib

import pytest

from wherry import clock as wherry_clock
from wherry import errors
from wherry.agent import boot_clock, journal, storage
from wherry.rpc import messages

pytestmark = pytest.mark.unit

COMMAND = messages.ObserveGuest(operation_id="op/../1", epoch=3, instance_uuid="u")


class SetClock(wherry_clock.LoopClock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def now(self) -> datetime.datetime:
        return self.time


def open_journal(directory: pathlib.Path, *, is_threaded: bool = True) -> tuple[journal.Journal, SetClock]:
    clock = SetClock()
    return journal.Journal(storage.FileStorage(directory, is_threaded=is_threaded), clock), clock


def names(directory: pathlib.Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("is_threaded", [True, False])
async def test_what_was_saved_is_found_by_the_next_agent_and_stays_in_its_directory(tmp_path: pathlib.Path, is_threaded: bool) -> None:
    first, _ = open_journal(tmp_path / "j", is_threaded=is_threaded)
    assert await first.open("incarnation-1") == ()
    entry = first.add(COMMAND)
    entry.created.append("/images/disk")
    await first.save(entry, is_synced=True)
    await first.close()
    second, _ = open_journal(tmp_path / "j", is_threaded=is_threaded)
    assert await second.open("incarnation-2") == ("incarnation-1",)
    assert second.get("op/../1") == entry
    assert names(tmp_path) == {"j"}
    assert names(tmp_path / "j") == {"lock", "op%2F%2E%2E%2F1.json"}
    await second.close()


async def test_a_second_agent_is_refused_naming_the_first_until_that_is_gone(tmp_path: pathlib.Path) -> None:
    first, _ = open_journal(tmp_path)
    await first.open("incarnation-1")
    second, _ = open_journal(tmp_path)
    with pytest.raises(errors.JournalLocked, match="incarnation-1"):
        await second.open("incarnation-2")
    await first.close()
    assert await second.open("incarnation-2") == ("incarnation-1",)
    await second.close()


async def test_an_unreadable_file_is_set_aside_and_the_others_are_read(tmp_path: pathlib.Path) -> None:
    first, _ = open_journal(tmp_path)
    await first.open("1")
    await first.save(first.add(COMMAND))
    await first.close()
    (tmp_path / "broken.json").write_text('{"operation_id": "broken", "epo')
    second, _ = open_journal(tmp_path)
    await second.open("2")
    assert second.find("broken") is None
    assert second.find(COMMAND.operation_id) is not None
    assert (tmp_path / "broken.unreadable").exists()
    await second.close()


async def test_a_write_that_was_cut_short_leaves_the_earlier_note_whole(tmp_path: pathlib.Path) -> None:
    first, _ = open_journal(tmp_path)
    await first.open("1")
    await first.save(first.add(COMMAND))
    await first.close()
    # What a death in the middle of a write leaves.
    (tmp_path / "op%2F%2E%2E%2F1.new").write_text('{"operation_id": "op/../1", "ep')
    second, _ = open_journal(tmp_path)
    await second.open("2")
    assert second.get(COMMAND.operation_id).epoch == 3
    await second.close()


async def test_of_concurrent_saves_the_last_state_lands_last(tmp_path: pathlib.Path) -> None:
    first, _ = open_journal(tmp_path)
    await first.open("1")
    entry = first.add(COMMAND)

    async def raise_epoch(epoch: int) -> None:
        entry.epoch = epoch
        await first.save(entry)

    await asyncio.gather(*(raise_epoch(epoch) for epoch in range(4, 30)))
    await first.close()
    second, _ = open_journal(tmp_path)
    await second.open("2")
    assert second.get(COMMAND.operation_id).epoch == 29
    await second.close()


async def test_ends_are_forgotten_after_their_time_and_unfinished_business_is_not(tmp_path: pathlib.Path) -> None:
    notes, clock = open_journal(tmp_path)
    await notes.open("1")
    ended = notes.add(messages.ObserveGuest(operation_id="ended", epoch=1, instance_uuid="u"))
    await notes.finish(ended, "FinishDestination", messages.Done())
    owing = notes.add(messages.ObserveGuest(operation_id="owing", epoch=1, instance_uuid="u"))
    owing.created.append("/images/disk")
    await notes.save(owing)
    clock.time += datetime.timedelta(days=6)
    await notes.prune(7)
    assert notes.find("ended") is not None
    clock.time += datetime.timedelta(days=2)
    await notes.prune(7)
    assert notes.find("ended") is None
    assert notes.find("owing") is not None
    assert names(tmp_path) == {"lock", "owing.json"}
    await notes.close()


async def test_a_paused_arrival_is_remembered_while_the_guest_is_paused_and_until_it_arrives_again(tmp_path: pathlib.Path) -> None:
    notes, clock = open_journal(tmp_path)
    await notes.open("1")

    async def arrive(operation_id: str, *, is_paused: bool) -> None:
        entry = notes.add(messages.ObserveGuest(operation_id=operation_id, epoch=1, instance_uuid="u"))
        entry.has_arrived_paused = is_paused
        assert not notes.has_arrived_paused("u"), "not before it is over"
        await notes.finish(entry, "FinishDestination", messages.Done())

    await arrive("first", is_paused=True)
    clock.time += datetime.timedelta(days=30)
    await notes.prune(7)
    await notes.prune(7, {"u", "v"})
    await notes.close()
    notes, clock = open_journal(tmp_path)
    clock.time += datetime.timedelta(days=60)
    await notes.open("2")
    assert notes.has_arrived_paused("u")
    assert not notes.has_arrived_paused("v")
    leaving = notes.add(messages.ObserveGuest(operation_id="leaving", epoch=1, instance_uuid="u"))
    await notes.finish(leaving, "RollBackSource", messages.Done())
    assert notes.has_arrived_paused("u"), "it has not arrived anew"
    await notes.prune(7, {"v"})
    assert notes.find("first") is None
    await arrive("second", is_paused=True)
    clock.time += datetime.timedelta(minutes=1)
    last = notes.add(messages.ObserveGuest(operation_id="third", epoch=1, instance_uuid="u"))
    await notes.finish(last, "FinishDestination", messages.Done())
    assert not notes.has_arrived_paused("u")
    await notes.close()


async def test_an_endless_operation_id_is_refused(tmp_path: pathlib.Path) -> None:
    notes, _ = open_journal(tmp_path)
    with pytest.raises(errors.MessageInvalid):
        notes.add(messages.ObserveGuest(operation_id="x" * 300, epoch=1, instance_uuid="u"))


def test_the_machines_boot_clock_goes_on_and_names_its_boot() -> None:
    clock = boot_clock.MachineBootClock()
    assert len(clock.boot_id()) == 36
    first = clock.seconds()
    assert 0 < first <= clock.seconds()
