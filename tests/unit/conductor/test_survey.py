# SPDX-License-Identifier: Apache-2.0
"""One look at all hosts for all who ask at once, with what was chosen meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from wherry import errors
from wherry.conductor import survey
from wherry.model import guest
from wherry.testing.store_contract import harness as harnesses

_MOVING = guest.Guest(uuid="1", name="one", state=guest.GuestState.RUNNING, memory_mib=512, vcpus=2)


@pytest.fixture(autouse=True)
async def _hosts(harness: harnesses.Harness) -> None:
    for name in ("host-a", "host-b"):
        await harness.make_host(name)


async def test_those_who_ask_at_once_are_answered_by_one_look(harness: harnesses.Harness) -> None:
    servers = [await harness.make_server() for _ in range(3)]
    looks = survey.Survey(harness.store)
    first, *others = await asyncio.gather(*(looks.look(one.uuid) for one in servers))
    assert all(one.hosts is first.hosts for one in others)
    assert {one.reading for one in others} == {first.reading}
    later = await looks.look(servers[0].uuid)
    assert later.reading > first.reading


async def test_what_was_chosen_counts_until_it_is_read(harness: harnesses.Harness) -> None:
    moving = await harness.make_server()
    looks = survey.Survey(harness.store)
    seen = await looks.look(moving.uuid)

    def incoming(of: survey.Seen) -> int:
        by_name = {one.name: one.usage for one in looks.with_choices(list(of.hosts.values()), of)}
        return by_name["host-b"].incoming_migrations

    assert incoming(seen) == 0
    looks.choose("operation-1", "host-a", "host-b", _MOVING)
    assert incoming(seen) == 1
    looks.settle("operation-1")
    # It may have been stored after these were read.
    assert incoming(seen) == 1
    assert incoming(await looks.look(moving.uuid)) == 0


async def test_who_asks_for_a_server_that_is_not_there_is_told(harness: harnesses.Harness) -> None:
    looks, known = survey.Survey(harness.store), await harness.make_server()
    missing, seen = await asyncio.gather(looks.look("nobody"), looks.look(known.uuid), return_exceptions=True)
    assert isinstance(missing, errors.ServerNotFound)
    assert isinstance(seen, survey.Seen)
    assert set(seen.hosts) == {"host-a", "host-b"}
