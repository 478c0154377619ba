# SPDX-License-Identifier: Apache-2.0
"""How the tests of the flow ask, wait, and strike at an exact moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wherry.db.repositories import migrations
from wherry.model import instance_actions, migration, operation, states
from wherry.testing import cloud as clouds
from wherry.testing import mortal

Status = states.Status


async def migrations_of(cloud: clouds.Cloud, name: str) -> list[migration.Migration]:
    """Give the records of a server's migrations, oldest first."""
    query = migrations.MigrationQuery(instance_uuid=cloud.uuid(name), is_newest_first=False)
    return await cloud.store.read(lambda uow: uow.migrations.list(query))


async def migration_of(cloud: clouds.Cloud, name: str) -> migration.Migration:
    """Give the record of a server's last migration."""
    return (await migrations_of(cloud, name))[-1]


async def until_status(cloud: clouds.Cloud, name: str, *wanted: Status, seconds: float = 3000.0) -> migration.Migration:
    """Wait until the server's last migration has one of these statuses."""

    async def is_there() -> migration.Migration | None:
        record = await migration_of(cloud, name)
        if record.status in states.TERMINAL and record.status not in wanted:
            raise AssertionError(f"it ended as {record.status}, waited for {wanted}: {record.reason}")
        return record if record.status in wanted else None

    found: migration.Migration = await cloud.until(is_there, seconds=seconds)
    return found


async def until_ended(cloud: clouds.Cloud, name: str, *, seconds: float = 3000.0) -> migration.Migration:
    """Wait until the server's last migration has ended."""
    return await until_status(cloud, name, *states.TERMINAL, seconds=seconds)


async def move(cloud: clouds.Cloud, name: str, **asked: Any) -> migration.Migration:
    """Ask for a live migration, and wait for its end."""
    answer = await cloud.live_migrate(name, **asked)
    assert answer.status_code == 202, answer.text
    return await until_ended(cloud, name)


async def action_of(cloud: clouds.Cloud, name: str, request_id: str) -> instance_actions.InstanceAction:
    """Give what a request's id tells."""
    return await cloud.store.read(lambda uow: uow.actions.get(cloud.uuid(name), request_id))


async def events_of(cloud: clouds.Cloud, name: str, request_id: str | None = None) -> list[tuple[str, str, str]]:
    """Give name, host and result of each event of a request, or of the last migration's, as they began."""
    if request_id is None:
        record = await migration_of(cloud, name)
        request_id = (await cloud.store.read(lambda uow: uow.operations.get(record.uuid))).request_id
    action = await action_of(cloud, name, request_id)
    return [(event.name, event.host, event.result.value if event.result else "") for event in reversed(action.events)]


def server_path(cloud: clouds.Cloud, name: str, rest: str = "") -> str:
    """Give the path of a server, or of something below it."""
    return f"/v2.1/servers/{cloud.uuid(name)}{rest}"


async def abort(cloud: clouds.Cloud, name: str, *, version: str = "2.90") -> Any:
    """Ask to abort the server's last migration; give the answer."""
    record = await migration_of(cloud, name)
    return await cloud.request("DELETE", server_path(cloud, name, f"/migrations/{record.id}"), version=version)


async def force_down(cloud: clouds.Cloud, host: str, *, is_down: bool = True) -> None:
    """Say of a host that it is dead, or not any more."""
    (service,) = (await cloud.request("GET", f"/v2.1/os-services?host={host}&binary=nova-compute")).json()["services"]
    answer = await cloud.request("PUT", f"/v2.1/os-services/{service['id']}", json={"forced_down": is_down})
    assert answer.status_code == 200, answer.text


# ------------------------------------------------------------ exact moments


def at_step(cloud: clouds.Cloud, step: operation.StepName, strike: Callable[[str], None]) -> None:
    """Have `strike` called once with the id of the conductor that has just stored this step, before it learns of its commit."""

    def told(conductor_id: str, result: object) -> None:
        if isinstance(result, tuple) and isinstance(result[0], operation.Operation) and result[0].step is step:
            cloud.on_commit.remove(told)
            strike(conductor_id)

    cloud.on_commit.append(told)


def at_message(
    cloud: clouds.Cloud, name: str, strike: Callable[[], mortal.Fate | None], *, host: str | None = None, number: int = 1
) -> None:
    """Have `strike` called once, as the `number`th message of this name is sent, to or from this host; it may name the message's fate."""
    left = number

    def tap(passing: mortal.Passing) -> mortal.Fate:
        nonlocal left
        if passing.name != name or host not in (None, passing.to_host, passing.from_host):
            return mortal.Fate.DELIVERED
        left -= 1
        if left:
            return mortal.Fate.DELIVERED
        cloud.bus.taps.remove(tap)
        return strike() or mortal.Fate.DELIVERED

    cloud.bus.taps.append(tap)


def at_call(cloud: clouds.Cloud, host: str, method: str, strike: Callable[[], None], *, is_done: bool, number: int = 1) -> None:
    """Have `strike` called once: as the host's agent makes the `number`th call of this method of its driver, or when that is done."""
    left = number

    def told(at_host: str, called: str, was_done: bool) -> None:
        nonlocal left
        if (at_host, called, was_done) != (host, method, is_done):
            return
        left -= 1
        if not left:
            cloud.on_call.remove(told)
            strike()

    cloud.on_call.append(told)
