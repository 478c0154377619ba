# SPDX-License-Identifier: Apache-2.0
"""`wherry status` said of a row of a newer release that the next sweep takes it on, and of nothing what to do."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from wherry import config as configs
from wherry.cmd import main, presence
from wherry.db import uow as uows
from wherry.testing import store_contract

_Prepare = Callable[[store_contract.Harness], Awaitable[object]]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What the command printed."""

    code: int
    text: str
    report: dict[str, Any]

    @property
    def attention(self) -> dict[str, tuple[str, str]]:
        return {one["about"]: (one["why"], one["do"]) for one in self.report["attention"]}

    @property
    def waits_for(self) -> list[str]:
        (one,) = self.report["operations"]
        return list(one["waits_for"])


Tell = Callable[[_Prepare], Told]


@pytest.fixture
def tell(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Have the command look at a database that was prepared at this moment."""
    file = tmp_path / "wherry.conf"
    file.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/wherry.sqlite\n")

    async def made(prepare: _Prepare) -> None:
        harness = store_contract.Harness(config=configs.load([str(file)]).database)
        harness.clock.time = datetime.datetime.now(datetime.UTC)
        await harness.store.upgrade()
        await prepare(harness)
        await harness.store.close()

    def look(prepare: _Prepare) -> Told:
        asyncio.run(made(prepare))
        capsys.readouterr()
        code = main.main(["status", "--check", "--config-file", str(file)])
        text = capsys.readouterr().out
        assert main.main(["status", "--config-file", str(file), "--format", "json"]) == 0
        return Told(code, text, json.loads(capsys.readouterr().out))

    return look


async def _all_is_well(harness: store_contract.Harness) -> None:
    await harness.make_host("host-a")
    await harness.make_owned()
    await harness.store.run(lambda uow: uow.apis.hear("api-1", "control", "http://control"))


async def _hour_ago(harness: store_contract.Harness, prepare: _Prepare) -> None:
    """Prepare something an hour ago; a conductor's lease of then has just run out."""
    now = harness.clock.time
    harness.clock.advance(-3600.5)
    await prepare(harness)
    harness.clock.time = now


async def _say(harness: store_contract.Harness, said: str) -> None:
    await harness.store.run(lambda uow: uow.session.change(sa.text(said)))


def test_nothing_needs_attention_where_all_is_well(tell: Tell) -> None:
    told = tell(_all_is_well)
    assert (told.code, told.attention) == (0, {})
    assert "Needs attention: nothing." in told.text


def test_a_site_on_which_nobody_is_left(tell: Tell) -> None:
    told = tell(lambda harness: _hour_ago(harness, _all_is_well))
    assert told.code == 2
    (wait, *_) = told.waits_for
    assert wait.startswith("the lease of control ended ")
    assert wait.endswith(" s ago, and no other holds one")
    assert "api control at http://control" in told.attention
    assert told.attention["apis"][1] == "Start `wherry api`."
    assert told.attention["conductors"][0] == "none holds a lease: no operation goes on"
    why, do = told.attention["host host-a"]
    assert why.startswith("its agent is silent, heard of 36")
    assert "`openstack compute service set --down host-a nova-compute`" in do
    assert "  host host-a: its agent is silent" in told.text


def test_an_api_that_died_is_told_and_forgotten_in_the_end(tell: Tell) -> None:
    async def died(harness: store_contract.Harness) -> None:
        harness.clock.advance(-100_000)
        await harness.store.run(lambda uow: uow.apis.hear("gone", "old", "http://old"))
        harness.clock.advance(99_000)
        await harness.store.run(lambda uow: uow.apis.hear("dead", "other", "http://other"))
        harness.clock.advance(1_000)
        await _all_is_well(harness)
        section = configs.load([]).default
        living = presence.Presence(store=harness.store, clock=harness.clock, section=section, address="http://living")
        await living.begin()
        left = [one.id for one in await harness.store.read(lambda uow: uow.apis.list())]
        assert "dead" in left
        assert "gone" not in left
        await living.end()

    told = tell(died)
    assert told.code == 2
    assert set(told.attention) == {"api other at http://other"}


def test_what_is_a_newer_releases_is_said_to_wait_for_it(tell: Tell) -> None:
    async def newer(harness: store_contract.Harness) -> None:
        await _all_is_well(harness)
        await _say(harness, "UPDATE operations SET step = 'warm_up', owner = NULL")

    told = tell(newer)
    assert told.waits_for == ["its step warm_up is a newer release's: only a conductor of that release goes on with it"]
    (found,) = told.attention.values()
    assert found[1] == "Start a conductor of that release: finish the upgrade."
    assert told.code == 2


def test_what_stands_still_and_who_is_back(tell: Tell) -> None:
    async def stands(harness: store_contract.Harness) -> None:
        await _hour_ago(harness, _all_is_well)

        async def unit(uow: uows.UnitOfWork) -> None:
            await uow.conductors.renew("conductor-1", "control", 3600)
            await uow.apis.hear("api-1", "control", "http://control")
            await uow.hosts.heartbeats([("host-a", "host-a-1")])
            await uow.hosts.update_service("host-a", is_forced_down=True)

        await harness.store.run(unit)

    told = tell(stands)
    assert set(told.attention) == {"live migration of server-1", "host host-a"}
    why, do = told.attention["live migration of server-1"]
    assert why.startswith("it has stood at the step select_destination for 36")
    assert "in the log of control" in do
    assert told.attention["host host-a"][0].startswith("it was said to be dead, and its agent lives")


def test_a_schema_of_an_earlier_release(tell: Tell) -> None:
    told = tell(lambda harness: _say(harness, "DELETE FROM alembic_version"))
    assert told.code == 2
    assert told.attention["database"][1] == "Run `wherry db upgrade`."
