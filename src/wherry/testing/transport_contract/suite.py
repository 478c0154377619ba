# SPDX-License-Identifier: Apache-2.0
"""The transport suite. Uses real time, in short waits with a deadline, since a broker cannot be put on virtual time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from wherry import errors
from wherry.rpc.transports import base

#: Gives a new, open transport on the bus under test; the fixture closes it.
Connect = Callable[[], Awaitable[base.Transport]]

#: Longest wait for something that should happen at once.
_SOON = 5.0
#: Wait in which something that must not happen would have.
_A_WHILE = 0.1


class Inbox:
    """A receiver that keeps what came, and answers with what it is told to."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._answer = answer
        self._arrived = asyncio.Condition()

    async def __call__(self, subject: str, data: bytes) -> bytes | None:
        async with self._arrived:
            self.received.append((subject, data))
            self._arrived.notify_all()
        return self._answer

    async def holds(self, count: int) -> None:
        """Wait until that many came."""
        async with asyncio.timeout(_SOON), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)


@pytest.fixture
def subject() -> str:
    """Give a subject that no other test uses, as runs may share a broker."""
    return f"test.{uuid.uuid4().hex}"


class TransportContract:
    """What every transport must do. `connect` is the fixture to give."""

    async def test_a_message_reaches_each_subscription(self, connect: Connect, subject: str) -> None:
        sender, first, second = await connect(), await connect(), await connect()
        inboxes = [Inbox(), Inbox()]
        await first.subscribe(subject, inboxes[0])
        await second.subscribe(subject, inboxes[1])
        await sender.publish(subject, b"\x00bytes")
        for inbox in inboxes:
            await inbox.holds(1)
            assert inbox.received == [(subject, b"\x00bytes")]

    async def test_it_says_whether_messages_get_through(self, connect: Connect) -> None:
        transport = await connect()
        assert transport.problem is None
        await transport.close()
        assert transport.problem

    async def test_one_member_of_a_queue_group_gets_each_message(self, connect: Connect, subject: str) -> None:
        sender, total = await connect(), Inbox()
        members: list[str] = []

        def member(name: str) -> base.Receiver:
            async def receive(subject: str, data: bytes) -> bytes | None:
                members.append(name)
                return await total(subject, data)

            return receive

        for name in ("first", "second"):
            await (await connect()).subscribe(subject, member(name), "group")
        for number in range(40):
            await sender.publish(subject, str(number).encode())
        await total.holds(40)
        assert sorted(int(data) for _, data in total.received) == list(range(40))
        assert set(members) == {"first", "second"}, "one member got everything"

    async def test_a_queue_group_and_a_lone_subscription_both_get_it(self, connect: Connect, subject: str) -> None:
        sender, other, alone, member = await connect(), await connect(), Inbox(), Inbox()
        await other.subscribe(subject, alone)
        await other.subscribe(subject, member, "group")
        await sender.publish(subject, b"x")
        await alone.holds(1)
        await member.holds(1)

    async def test_a_star_stands_for_one_token_and_the_subject_is_told(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox()
        await (await connect()).subscribe(f"{subject}.*.end", inbox)
        await sender.publish(f"{subject}.a.b.end", b"no")
        await sender.publish(f"{subject}.end", b"no")
        await sender.publish(f"{subject}.a.end", b"yes")
        await inbox.holds(1)
        await asyncio.sleep(_A_WHILE)
        assert inbox.received == [(f"{subject}.a.end", b"yes")]

    async def test_a_tail_wildcard_stands_for_one_or_more_tokens(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox()
        await (await connect()).subscribe(f"{subject}.>", inbox)
        for ending in ("", ".a", ".a.b"):
            await sender.publish(f"{subject}{ending}", b"x")
        await inbox.holds(2)
        await asyncio.sleep(_A_WHILE)
        assert [name for name, _ in inbox.received] == [f"{subject}.a", f"{subject}.a.b"]

    async def test_publishing_to_nobody_is_fine(self, connect: Connect, subject: str) -> None:
        await (await connect()).publish(subject, b"x")

    async def test_a_request_gets_its_answer(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox(b"answer")
        await (await connect()).subscribe(subject, inbox)
        assert await sender.request(subject, b"question", _SOON) == b"answer"
        assert inbox.received == [(subject, b"question")]

    async def test_concurrent_requests_get_their_own_answers(self, connect: Connect, subject: str) -> None:
        async def echo(_subject: str, data: bytes) -> bytes:
            # The later the request, the sooner its answer.
            await asyncio.sleep((20 - int(data)) / 1000)
            return data

        sender = await connect()
        await (await connect()).subscribe(subject, echo)
        answers = await asyncio.gather(*(sender.request(subject, str(n).encode(), _SOON) for n in range(20)))
        assert [int(answer) for answer in answers] == list(range(20))

    async def test_a_request_to_nobody_fails_at_once(self, connect: Connect, subject: str) -> None:
        sender = await connect()
        async with asyncio.timeout(1):
            with pytest.raises(base.NoResponders):
                await sender.request(subject, b"x", 60)

    async def test_a_request_that_nobody_answers_times_out(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox(None)
        await (await connect()).subscribe(subject, inbox)
        with pytest.raises(base.NoAnswer):
            await sender.request(subject, b"x", _A_WHILE)

    async def test_a_slow_delivery_does_not_hold_up_the_next(self, connect: Connect, subject: str) -> None:
        release = asyncio.Event()

        async def slow_first(_subject: str, data: bytes) -> bytes:
            if data == b"slow":
                await release.wait()
            return data

        sender = await connect()
        await (await connect()).subscribe(subject, slow_first)
        slow = asyncio.create_task(sender.request(subject, b"slow", _SOON))
        await asyncio.sleep(0)
        assert await sender.request(subject, b"quick", _SOON) == b"quick"
        assert not slow.done()
        release.set()
        assert await slow == b"slow"

    async def test_after_unsubscribing_nothing_comes(self, connect: Connect, subject: str) -> None:
        sender, receiver, inbox = await connect(), await connect(), Inbox(b"x")
        subscription = await receiver.subscribe(subject, inbox)
        await sender.request(subject, b"1", _SOON)
        await subscription.unsubscribe()
        await subscription.unsubscribe()
        async with asyncio.timeout(_SOON):
            with pytest.raises(base.NoResponders):
                # A broker may take a moment to hear of it.
                while True:
                    await sender.request(subject, b"2", _A_WHILE)
                    await asyncio.sleep(0.01)

    async def test_closing_ends_subscriptions(self, connect: Connect, subject: str) -> None:
        sender, receiver = await connect(), await connect()
        await receiver.subscribe(subject, Inbox(b"x"))
        await receiver.close()
        await receiver.close()
        async with asyncio.timeout(_SOON):
            with pytest.raises(base.NoResponders):
                while True:
                    await sender.request(subject, b"2", _A_WHILE)
                    await asyncio.sleep(0.01)

    async def test_closing_ends_the_own_requests(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox(None)
        await (await connect()).subscribe(subject, inbox)
        request = asyncio.create_task(sender.request(subject, b"x", 60))
        await inbox.holds(1)
        await sender.close()
        async with asyncio.timeout(_SOON):
            with pytest.raises(errors.BusUnavailable):
                await request

    async def test_after_closing_nothing_can_be_sent(self, connect: Connect, subject: str) -> None:
        transport = await connect()
        await transport.close()
        with pytest.raises(errors.BusUnavailable):
            await transport.publish(subject, b"x")
        with pytest.raises(errors.BusUnavailable):
            await transport.request(subject, b"x", _SOON)

    async def test_a_message_that_is_too_large_is_refused(self, connect: Connect, subject: str) -> None:
        sender, inbox = await connect(), Inbox()
        await (await connect()).subscribe(subject, inbox)
        with pytest.raises(errors.MessageTooLarge, match="2000000 bytes"):
            await sender.publish(subject, bytes(2_000_000))
        await sender.publish(subject, bytes(500_000))
        await inbox.holds(1)
        assert [len(data) for _, data in inbox.received] == [500_000]
