# SPDX-License-Identifier: Apache-2.0
"""How the tests of cold migrations and resizes ask, and wait."""

from __future__ import annotations

from typing import Any

import httpx

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest, migration, states
from wherry.testing import cloud as clouds

Status = states.Status


def with_two_disks(world: simulated.World, **fields: Any) -> simulated.World:
    """Add the guest g2 to h1, with a disk of its host's own, and one that all hosts see."""
    disks = (conftest.disk("/own/g2.raw"), conftest.disk("/shared/g2.raw", name="vdb"))
    world.add_guest("h1", "g2", memory_mib=1024, vcpus=1, disks=disks, **fields)
    return world


async def act(cloud: clouds.Cloud, name: str, action: str, body: Any = None, *, version: str = "2.90") -> httpx.Response:
    """Ask for an action on a server."""
    return await cloud.request("POST", asking.server_path(cloud, name, "/action"), version=version, json={action: body})


async def until_resting(cloud: clouds.Cloud, name: str, *wanted: Status, seconds: float = 600.0) -> migration.Migration:
    """Wait until the server's last migration has one of these statuses, or has ended or waits, and no operation is open."""

    async def is_there() -> migration.Migration | None:
        record = await asking.migration_of(cloud, name)
        if record.status not in (wanted or states.TERMINAL | states.RESTING):
            return None
        return None if await cloud.store.read(lambda uow: uow.operations.list_open()) else record

    found: migration.Migration = await cloud.until(is_there, seconds=seconds)
    return found


async def moved(cloud: clouds.Cloud, name: str, host: str | None = "h2") -> migration.Migration:
    """Migrate a server cold; give the record when it waits to be confirmed."""
    answer = await act(cloud, name, "migrate", None if host is None else {"host": host})
    assert answer.status_code == 202, answer.text
    return await until_resting(cloud, name, Status.FINISHED)


async def resized(cloud: clouds.Cloud, name: str, flavor: str) -> migration.Migration:
    """Resize a server; give the record when it waits to be confirmed."""
    answer = await act(cloud, name, "resize", {"flavorRef": flavor})
    assert answer.status_code == 202, answer.text
    return await until_resting(cloud, name, Status.FINISHED)


async def settled(cloud: clouds.Cloud, name: str, action: str) -> migration.Migration:
    """Confirm or revert; give the record when that is over."""
    answer = await act(cloud, name, action)
    assert answer.status_code == (204 if action == "confirmResize" else 202), answer.text
    return await until_resting(cloud, name)


def at(cloud: clouds.Cloud, host: str, name: str) -> simulated.fleet.Guest | None:
    """Give the guest as one host has it."""
    return cloud.world.hosts[host].guests.get(cloud.uuid(name))


def state_at(cloud: clouds.Cloud, host: str, name: str) -> guest.GuestState | None:
    """Give its state there."""
    found = at(cloud, host, name)
    return None if found is None else found.state


async def states_of(cloud: clouds.Cloud, name: str) -> tuple[str, str | None, str]:
    """Give status, task_state and host that the API shows."""
    shown = await cloud.server(name)
    return shown["status"], shown["OS-EXT-STS:task_state"], shown["OS-EXT-SRV-ATTR:host"]


async def events(cloud: clouds.Cloud, name: str, number: int = 0) -> list[tuple[str, str, str]]:
    """Give name, host and result of each event of the server's action, the newest being 0, as they began."""
    listed = (await cloud.request("GET", asking.server_path(cloud, name, "/os-instance-actions"))).json()["instanceActions"]
    return await asking.events_of(cloud, name, listed[number]["request_id"])
