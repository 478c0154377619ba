# SPDX-License-Identifier: Apache-2.0
"""Two releases side by side, as in a rolling upgrade: what the newer one adds to messages, the older one ignores.

The older release is the code as it is. The newer one says more: every object in its messages, however deep, has a field that the older one
has never heard of, and it sends messages of which the older one does not know the name.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tests.functional.flow import asking
from wherry import errors
from wherry.drivers import simulated
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
