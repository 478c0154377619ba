# SPDX-License-Identifier: Apache-2.0
"""Client and server over the memory transport: answers, errors, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
import structlog

from wherry import errors
from wherry.rpc import addresses, client, envelope, messages, server
from wherry.rpc.transports import memory
from wherry.telemetry import logs, metrics

pytestmark = pytest.mark.unit

HOST = "rack1.node-7"


class Answer(messages.Message):
    text: str = "default"


class Ask(messages.Request[Answer]):
    reply_type: ClassVar[type[messages.Message]] = Answer
    number: int = 0


class Wire:
    """A bus with one agent's server and one conductor's client on it."""

    def __init__(self) -> None:
        self.bus = memory.MemoryBus()
        self.agent_side = memory.MemoryTransport(self.bus)
        self.caller_side = memory.MemoryTransport(self.bus)
        self.metrics = metrics.Metrics()
        self.server = server.Server(self.agent_side, addresses.agent(HOST), max_concurrent=3, drain_seconds=0.05, metrics=self.metrics)
        self.client = client.Client(
            self.caller_side, addresses.Sender(addresses.Role.CONDUCTOR, "c1"), timeout_seconds=5, metrics=self.metrics
        )

    async def ask(self, number: int = 0, timeout_seconds: float | None = None) -> str:
        return (await self.client.call(addresses.agent(HOST), Ask(number=number), timeout_seconds)).text


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    await made.agent_side.open()
    await made.caller_side.open()
    yield made
    await made.server.stop()
    await made.agent_side.close()
    await made.caller_side.close()


async def test_a_call_is_answered_with_the_typed_reply(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        return Answer(text=f"{sender} asked {message.number}")

    wire.server.register(Ask, handle)
    await wire.server.start()
    assert await wire.ask(7) == "conductor: asked 7"


async def test_no_reply_answers_with_the_reply_types_defaults(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> None:
        return None

    wire.server.register(Ask, handle)
    await wire.server.start()
    assert await wire.ask() == "default"


async def test_a_wherry_error_arrives_as_itself(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        raise errors.InsufficientMemory(uuid="u", host=HOST, available_mib=1, needed_mib=2)

    wire.server.register(Ask, handle)
    await wire.server.start()
    with pytest.raises(errors.InsufficientMemory) as caught:
        await wire.ask()
    assert caught.value.fields["needed_mib"] == 2
    assert caught.value.remote_traceback == ""


async def test_a_crash_arrives_with_the_remote_traceback_and_ends_only_its_message(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        if message.number == 1:
            raise ZeroDivisionError("by nought")
        return Answer(text="alive")

    wire.server.register(Ask, handle)
    await wire.server.start()
    with pytest.raises(errors.RemoteFailure, match="ZeroDivisionError: by nought") as caught:
        await wire.ask(1)
    assert "in handle" in caught.value.remote_traceback
    assert await wire.ask(2) == "alive"


async def test_nobody_there_is_known_at_once_and_named(wire: Wire) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(errors.HostUnreachable, match=r"No agent answers for host rack1\.node-7"):
            await wire.ask()
        with pytest.raises(errors.ConductorUnreachable, match="No conductor answers"):
            await wire.client.call(addresses.conductor(), Ask())


async def test_no_answer_in_time_names_message_host_and_seconds(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    wire.server.register(Ask, handle)
    await wire.server.start()
    with pytest.raises(errors.RpcTimeout, match=r"Ask at rack1.node-7 did not answer within 0.02 s"):
        await wire.ask(timeout_seconds=0.02)


async def test_an_unknown_message_is_answered_so_and_counted(wire: Wire) -> None:
    await wire.server.start()
    with pytest.raises(errors.MessageUnknown, match="does not know the message Ask") as told:
        await wire.ask()
    # Another process may know it.
    assert told.value.retryable
    assert wire.metrics.registry.get_sample_value("wherry_rpc_messages_dropped_total", {"reason": "unknown"}) == 1


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"[]", b'{"message":"Ask","payload":{"number":"many"}}', b'{"message":"Other","payload":{}}'],
    ids=["not_json", "not_an_object", "wrong_type", "other_name"],
)
async def test_an_unreadable_message_is_answered_so(wire: Wire, data: bytes) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        raise AssertionError("must not be called")

    wire.server.register(Ask, handle)
    await wire.server.start()
    answer = await wire.caller_side.request(f"wherry.agent.{addresses.encode(HOST)}.Ask", data, 5)
    with pytest.raises(errors.MessageInvalid):
        envelope.unpack_answer(Ask(), answer)


async def test_unknown_fields_of_a_newer_release_are_ignored(wire: Wire) -> None:
    seen: list[Ask] = []

    async def handle(sender: str, message: Ask) -> Answer:
        seen.append(message)
        return Answer()

    wire.server.register(Ask, handle)
    await wire.server.start()
    data = b'{"message":"Ask","newer":1,"payload":{"number":3,"newer":{"deep":[]}}}'
    await wire.caller_side.request(f"wherry.agent.{addresses.encode(HOST)}.Ask", data, 5)
    assert seen == [Ask(number=3)]


async def test_more_than_the_limit_is_refused_at_once(wire: Wire) -> None:
    release = asyncio.Event()

    async def handle(sender: str, message: Ask) -> Answer:
        await release.wait()
        return Answer(text="done")

    wire.server.register(Ask, handle)
    await wire.server.start()
    held = [asyncio.create_task(wire.ask(n)) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(errors.TooManyMessages, match="working on 3 messages"):
        await wire.ask(9)
    release.set()
    assert await asyncio.gather(*held) == ["done"] * 3
    assert await wire.ask(10) == "done"


async def test_stopping_waits_for_messages_in_work_and_takes_no_new_ones(wire: Wire) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def handle(sender: str, message: Ask) -> Answer:
        began.set()
        await release.wait()
        return Answer(text="done")

    wire.server = server.Server(wire.agent_side, addresses.agent(HOST), drain_seconds=5)
    wire.server.register(Ask, handle)
    await wire.server.start()
    held = asyncio.create_task(wire.ask())
    await began.wait()
    stopping = asyncio.create_task(wire.server.stop())
    await asyncio.sleep(0)
    with pytest.raises(errors.HostUnreachable):
        await wire.ask()
    assert not stopping.done()
    release.set()
    await stopping
    assert await held == "done"


async def test_the_request_id_marks_the_other_sides_lines(wire: Wire) -> None:
    seen: list[object] = []

    async def handle(sender: str, message: Ask) -> None:
        seen.append(structlog.contextvars.get_contextvars())

    wire.server.register(Ask, handle)
    await wire.server.start()
    with logs.bound(request_id="req-1", client="c1"):
        await wire.ask()
    await wire.ask()
    # The sender's other fields are its own, even where both share a process.
    assert seen == [{"request_id": "req-1"}, {}]


async def test_a_cast_to_nobody_is_fine_and_one_to_somebody_arrives(wire: Wire) -> None:
    arrived = asyncio.Event()

    async def handle(sender: str, message: messages.SignOff) -> None:
        assert sender == "h1"
        arrived.set()

    agent_client = client.Client(wire.caller_side, addresses.Sender(addresses.Role.AGENT, "h1"), timeout_seconds=5)
    await agent_client.cast(addresses.conductor(), messages.SignOff(name="h1", incarnation="i"))
    conductor = server.Server(wire.agent_side, addresses.conductor(), drain_seconds=1)
    conductor.register(messages.SignOff, handle)
    await conductor.start()
    await agent_client.cast(addresses.conductor(), messages.SignOff(name="h1", incarnation="i"))
    async with asyncio.timeout(5):
        await arrived.wait()
    await conductor.stop()


async def test_a_message_that_only_an_api_may_send_is_refused_to_an_agent(wire: Wire) -> None:
    conductor = server.Server(wire.agent_side, addresses.conductor(), metrics=wire.metrics)
    heard: list[str] = []

    async def handle(sender: str, message: Ask) -> None:
        heard.append(sender)

    conductor.register(Ask, handle, only_from=addresses.Role.API)
    await conductor.start()
    for role in (addresses.Role.AGENT, addresses.Role.API):
        sender = client.Client(wire.caller_side, addresses.Sender(role, "h1"), timeout_seconds=5)
        if role is addresses.Role.API:
            await sender.call(addresses.conductor(), Ask())
        else:
            with pytest.raises(errors.SenderRefused, match="an api, which alone may send Ask"):
                await sender.call(addresses.conductor(), Ask())
    assert heard == ["api:h1"]
    assert 'wherry_rpc_messages_dropped_total{reason="wrong_sender"} 1.0' in wire.metrics.render().decode()
    await conductor.stop()


async def test_an_answer_that_the_bus_would_not_carry_becomes_an_error(wire: Wire) -> None:
    async def handle(sender: str, message: Ask) -> Answer:
        return Answer(text="x" * 1_000_000)

    wire.server.register(Ask, handle)
    await wire.server.start()
    with pytest.raises(errors.MessageTooLarge, match="answer to Ask has 1000023 bytes; 900000 are allowed"):
        await wire.ask()
