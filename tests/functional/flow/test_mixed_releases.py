# SPDX-License-Identifier: Apache-2.0
"""Two releases side by side, as in a rolling upgrade: what the newer one adds to messages, the older one ignores.

The older release is the code as it is. The newer one says more: every object in its messages, however deep, has a field that the older one
has never heard of, and it sends messages of which the older one does not know the name.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pydantic
import pytest
import sqlalchemy as sa

from tests.functional.flow import asking
from wherry import errors
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.drivers import simulated
from wherry.model import instance_actions, migration
from wherry.rpc import addresses, messages
from wherry.rpc import client as clients
from wherry.rpc.transports import base, memory
from wherry.testing import cloud as clouds
from wherry.testing import invariants, message_schemas, virtual_time

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_SCHEMAS = message_schemas.current()
_NEW_FIELD = "said_by_a_newer_release"


class Sing(messages.Message):
    """A message that this release does not know."""


class Ask(messages.Request[messages.Done]):
    """A question that this release does not know."""

    reply_type = messages.Done


def _with_more(value: Any, part: dict[str, Any], whole: dict[str, Any]) -> Any:
    """Add a field to every object that has fields by its schema; free mappings are left as they are."""
    while "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    for variant in part.get("anyOf", ()):
        value = _with_more(value, variant, whole)
    if isinstance(value, list) and "items" in part:
        return [_with_more(one, part["items"], whole) for one in value]
    if isinstance(value, dict) and "properties" in part:
        known = part["properties"]
        return {name: _with_more(one, known[name], whole) if name in known else one for name, one in value.items()} | {_NEW_FIELD: [1]}
    return value


def _said(name: str, data: bytes) -> bytes:
    told = json.loads(data)
    if name in _SCHEMAS and isinstance(told.get("payload"), dict):
        told["payload"] = _with_more(told["payload"], _SCHEMAS[name], _SCHEMAS[name])
    return json.dumps(told | {_NEW_FIELD: 1}).encode()


class _NewerTransport(memory.MemoryTransport):
    """A newer process's way to the bus."""

    async def publish(self, subject: str, data: bytes) -> None:
        await super().publish(subject, _said(subject.rpartition(".")[2], data))

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        return await super().request(subject, _said(subject.rpartition(".")[2], data), timeout_seconds)

    async def subscribe(self, pattern: str, receiver: base.Receiver, queue: str = "") -> base.Subscription:
        async def answer(subject: str, data: bytes) -> bytes | None:
            reply = await receiver(subject, data)
            asked: type[messages.Message] | None = getattr(messages, subject.rpartition(".")[2], None)
            if reply is None or asked is None or not issubclass(asked, messages.Request):
                return reply
            return _said(asked.reply_type.__name__, reply)

        return await super().subscribe(pattern, answer, queue)


class _MixedCloud(clouds.Cloud):
    """Every other process that is started is of the newer release."""

    started = 0

    def make_transport(self, sender: addresses.Sender) -> base.Transport:
        del sender
        self.started += 1
        return (_NewerTransport if self.started % 2 else memory.MemoryTransport)(self.bus)


@pytest.mark.parametrize("first", [0, 1], ids=["newer-conductor", "older-conductor"])
async def test_a_migration_goes_through_both_releases(world: simulated.World, tmp_path: pathlib.Path, first: int) -> None:
    cloud = _MixedCloud(world, tmp_path, clock=virtual_time.virtual_clock())
    async with cloud:
        before = invariants.snapshot(cloud.world)
        cloud.started = first
        await cloud.start_conductor()
        for host in ("h1", "h2"):
            await cloud.stop_agent(host)
            await cloud.start_agent(host)
        moved = await asking.move(cloud, "g1", host="h2")
        assert moved.status is asking.Status.COMPLETED
        back = await asking.move(cloud, "g1", host="h1")
        assert back.status is asking.Status.COMPLETED
        await invariants.at_rest(cloud)
        await invariants.come_to_hold(cloud, before, touched={cloud.uuid("g1")})


async def test_messages_of_unknown_name_do_no_harm(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        transport = memory.MemoryTransport(cloud.bus)
        await transport.open()
        client = clients.Client(transport, addresses.Sender(addresses.Role.API, "newer"), timeout_seconds=5.0, clock=cloud.clock)
        for address in (addresses.conductor(), addresses.agent("h1"), addresses.agent("h2")):
            await client.cast(address, Sing())
            with pytest.raises(errors.MessageUnknown):
                await client.call(address, Ask())
        assert (await asking.move(cloud, "g1")).status is asking.Status.COMPLETED


_HIBERNATE = """INSERT INTO intents (operation_id, kind, request_id, requested_at)
    SELECT id, 'hibernate', 'req-newer', created_at FROM operations WHERE finished_at IS NULL"""
_DAYDREAM = """INSERT INTO reports (operation_id, epoch, sequence, kind, host, body, received_at)
    SELECT id, epoch, 900, 'daydreamed', 'h1', '{"mood": "fine"}', created_at FROM operations WHERE finished_at IS NULL"""


async def test_what_a_newer_release_wants_and_tells_of_a_migration_does_not_keep_it_from_its_end(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        assert await cloud.store.run(lambda uow: uow.session.change(sa.text(_HIBERNATE))) == 1
        assert await cloud.store.run(lambda uow: uow.session.change(sa.text(_DAYDREAM))) == 1
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED
        await cloud.clock.sleep(10.0)
        # Left to the one that knows it.
        assert [one.kind.value for one in await cloud.store.read(lambda uow: uow.overview.pending_intents())] == ["hibernate"]


async def test_what_a_host_is_owed_and_cannot_be_read_is_left_to_a_newer_release_and_the_rest_is_paid(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(world, conductor={"chore_retry_interval_seconds": 5.0}) as cloud:
        moved = await asking.move(cloud, "g1", host="h2")
        body = {"operation_id": moved.uuid, "epoch": 9, "instance_uuid": cloud.uuid("g1")}
        of = await cloud.store.read(lambda uow: uow.operations.get(moved.uuid))
        plan = pydantic.TypeAdapter(migration.DrivenPlan).dump_python(of.plan, mode="json")
        for command, more in (("Polish", {}), ("ConfirmSource", {"plan": "in verse"}), ("ConfirmDestination", {"plan": plan})):
            await cloud.store.run(_owing(moved.uuid, command, body | more))

        async def is_paid() -> bool:
            return [one.command for one in await cloud.store.read(lambda uow: uow.chores.list())] == ["Polish", "ConfirmSource"]

        await cloud.until(is_paid, seconds=60.0)
        await cloud.store.run(lambda uow: uow.session.change(sa.text("DELETE FROM chores")))
        await invariants.at_rest(cloud)


def _owing(migration_id: str, command: str, body: dict[str, object]) -> stores.Unit[bool]:
    return lambda uow: uow.chores.add(migration_id, "h1", command, body)


async def test_what_an_earlier_release_left_unanswered_at_an_end_is_answered(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """As a conductor that does not know the kinds leaves them: it ends the migration beside them."""
    async with make_cloud(world) as cloud:
        assert (await cloud.live_migrate("g1")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        uuid = cloud.uuid("g1")
        # This release's own words, hidden from it until the end.
        await cloud.store.run(lambda uow: uow.session.change(sa.text(_HIBERNATE)))
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED

        async def ask(uow: uows.UnitOfWork) -> None:
            asked = {"request_id": "req-newer", "user_id": "u", "project_id": "p"}
            await uow.actions.record(instance_uuid=uuid, action=instance_actions.ActionName.LIVE_MIGRATION_CANCEL, **asked)
            await uow.session.change(sa.text("UPDATE intents SET kind = 'abort'"))

        await cloud.store.run(ask)
        await cloud.until(lambda: _is_answered(cloud), seconds=30.0)
        (event,) = (await asking.action_of(cloud, "g1", "req-newer")).events
        assert (event.result, event.details) == (instance_actions.Result.ERROR, "The migration was completed before the abort.")
        # A deletion that waited begins now.
        await cloud.store.run(lambda uow: uow.session.change(sa.text("UPDATE intents SET kind = 'delete', acknowledged_at = NULL")))
        await cloud.until(lambda: _is_gone(cloud, uuid), seconds=60.0)
        await invariants.at_rest(cloud)


async def _is_answered(cloud: clouds.Cloud) -> bool:
    return not await cloud.store.read(lambda uow: uow.operations.operations_with_pending_intents())


async def _is_gone(cloud: clouds.Cloud, uuid: str) -> bool:
    return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404


class _OlderTransport(memory.MemoryTransport):
    """The way to the bus of an agent to which one command comes under a name that it does not know."""

    command = ""

    async def subscribe(self, pattern: str, receiver: base.Receiver, queue: str = "") -> base.Subscription:
        async def hear(subject: str, data: bytes) -> bytes | None:
            if subject.endswith(f".{self.command}"):
                subject, data = f"{subject}Newly", data.replace(self.command.encode(), f"{self.command}Newly".encode(), 1)
            return await receiver(subject, data)

        return await super().subscribe(pattern, hear, queue)


class _CloudWithAnOlderAgent(clouds.Cloud):
    """The agent of h2 does not know one command."""

    command = ""

    def make_transport(self, sender: addresses.Sender) -> base.Transport:
        if sender != addresses.Sender(addresses.Role.AGENT, "h2"):
            return memory.MemoryTransport(self.bus)
        made = _OlderTransport(self.bus)
        made.command = self.command
        return made


@pytest.mark.parametrize("command", ["CheckDestination", "PrepareDestination"])
async def test_a_destination_that_does_not_know_a_command_is_skipped(world: simulated.World, tmp_path: pathlib.Path, command: str) -> None:
    """It says so at once and the next host is tried; where it was asked for by name, that is the cause which is told."""
    # The widest of the three.
    world.hosts["h2"].memory_mib *= 2
    cloud = _CloudWithAnOlderAgent(world, tmp_path, clock=virtual_time.virtual_clock())
    cloud.command = command
    async with cloud:
        moved = await asking.move(cloud, "g1")
        assert (moved.status, moved.dest_compute) == (asking.Status.COMPLETED, "h3")
        assert ("h2", "Error") in [(host, result) for _, host, result in await asking.events_of(cloud, "g1")]
        named = await asking.move(cloud, "g1", host="h2")
        assert named.status in (asking.Status.ERROR, asking.Status.FAILED)
        assert named.reason is not None
        assert "The release that h2 runs does not know the message" in named.reason.message, named.reason
        assert (await cloud.server("g1"))["OS-EXT-SRV-ATTR:host"] == "h3"
        await invariants.at_rest(cloud)


async def test_a_destination_that_does_not_know_how_to_finish_is_waited_for(world: simulated.World, tmp_path: pathlib.Path) -> None:
    """The guest has arrived and runs: nothing is undone, and the agent's upgrade ends it."""
    cloud = _CloudWithAnOlderAgent(world, tmp_path, clock=virtual_time.virtual_clock())
    cloud.command = "FinishDestination"
    async with cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await cloud.clock.sleep(120.0)
        await cloud.stop_agent("h2")
        cloud.command = "-"
        await cloud.start_agent("h2")
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED
        await invariants.at_rest(cloud)
