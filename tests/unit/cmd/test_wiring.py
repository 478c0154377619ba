# SPDX-License-Identifier: Apache-2.0
"""What separate processes cannot work with is refused at once, with what to set instead."""

from __future__ import annotations

import pytest

from wherry import config as configs
from wherry import errors
from wherry.cmd import agent, api, conductor, running

_BUS = "nats://bus.example:4222"
_POSTGRESQL = "postgresql+asyncpg://nobody@db.example/wherry"


def _config(bus: str, connection: str) -> configs.Config:
    return configs.load([], {}, {"bus": {"transport_url": bus}, "database": {"connection": connection}})


@pytest.mark.parametrize("make", [api.ApiProcess, conductor.ConductorProcess, agent.AgentProcess])
@pytest.mark.parametrize("bus", ["", "memory://"])
def test_without_a_bus_nobody_would_be_heard(make: running.MakeService, bus: str) -> None:
    with pytest.raises(errors.ConfigInvalid, match="no bus is named") as refused:
        make(_config(bus, _POSTGRESQL))
    assert "or run wherry all-in-one" in refused.value.remedy


@pytest.mark.parametrize("make", [api.ApiProcess, conductor.ConductorProcess])
@pytest.mark.parametrize(
    ("bus", "connection", "problem"),
    [
        (_BUS, "sqlite:////var/lib/wherry/wherry.sqlite", "serves the processes of one machine"),
        (f"{_BUS},nats://127.0.0.1:4222", "sqlite:////var/lib/wherry/wherry.sqlite", "serves the processes of one machine"),
        ("nats://127.0.0.1:4222", "sqlite:///:memory:", "in memory is one process's only"),
    ],
)
def test_a_database_that_others_cannot_share_is_refused(make: running.MakeService, bus: str, connection: str, problem: str) -> None:
    with pytest.raises(errors.ConfigInvalid, match=problem) as refused:
        make(_config(bus, connection))
    assert "postgresql+asyncpg://USER:PASSWORD@HOST/NAME" in refused.value.remedy


@pytest.mark.parametrize(
    ("bus", "connection"),
    [(_BUS, _POSTGRESQL), ("nats://127.0.0.1:4222,nats://[::1]:4222", "sqlite:////var/lib/wherry/wherry.sqlite")],
)
async def test_what_can_work_is_taken(bus: str, connection: str) -> None:
    for make in (api.ApiProcess, conductor.ConductorProcess, agent.AgentProcess):
        make(_config(bus, connection))
