# SPDX-License-Identifier: Apache-2.0
"""A bus that is not there, goes away, hangs, comes back or says no: what its users notice, and how soon."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from tests.integration.nats import servers
from wherry import errors
from wherry.rpc import addresses, client, messages
from wherry.rpc.transports import base
from wherry.testing.transport_contract.suite import Inbox

pytestmark = pytest.mark.nats


async def test_a_host_without_an_agent_is_unreachable_within_milliseconds(server: servers.Server, join: servers.Join) -> None:
    sender = addresses.Sender(addresses.Role.CONDUCTOR, "c")
    conductor = client.Client(await join(server.section()), sender, timeout_seconds=60)
    seconds = []
    for _ in range(20):
        begun = time.perf_counter()
        with pytest.raises(errors.HostUnreachable):
            await conductor.call(addresses.agent("h1"), messages.ObserveGuest(operation_id="", epoch=0, instance_uuid="u"))
        seconds.append(time.perf_counter() - begun)
    assert statistics.median(seconds) < 0.05


async def test_a_killed_bus_fails_what_waits_at_once_and_is_found_again(server: servers.Server, join: servers.Join) -> None:
    asking, answering = await join(server.section()), await join(server.section())
    silent = Inbox(None)
    await answering.subscribe("silent", silent)
    await answering.subscribe("echo", Inbox(b"answer"), "group")
    waiting = [asyncio.create_task(asking.request("silent", b"x", 60)) for _ in range(10)]
    await silent.holds(10)
    begun = time.perf_counter()
    server.kill()
    for task in waiting:
        with pytest.raises(errors.BusUnavailable) as caught:
            await task
        assert caught.value.retryable
    assert time.perf_counter() - begun < 1.0
    await servers.until(lambda: asking.problem == "not connected" and answering.problem == "not connected")
    begun = time.perf_counter()
    for send in (asking.publish("echo", b"x"), asking.request("echo", b"x", 60)):
        with pytest.raises(errors.BusUnavailable):
            await send
    assert time.perf_counter() - begun < 0.1
    server.start()
    assert await servers.until_answered(asking, "echo") == b"answer"
    assert asking.problem is None


async def test_a_process_may_be_started_before_its_bus(server: servers.Server, join: servers.Join) -> None:
    server.kill()
    section = server.section(connect_timeout_seconds=0.2)
    asking, answering = await join(section), await join(section)
    await answering.subscribe("echo", Inbox(b"answer"))
    with pytest.raises(errors.BusUnavailable):
        await asking.request("echo", b"x", 60)
    server.start()
    assert await servers.until_answered(asking, "echo") == b"answer"


async def test_a_bus_that_hangs_is_left_and_found_again(server: servers.Server, join: servers.Join) -> None:
    quick = server.section(ping_interval_seconds=0.1, max_outstanding_pings=1, connect_timeout_seconds=0.2)
    asking, answering = await join(quick), await join(quick)
    await answering.subscribe("echo", Inbox(b"answer"))
    assert await asking.request("echo", b"x", 1) == b"answer"
    server.suspend()
    try:
        with pytest.raises(errors.BusUnavailable):
            await asking.request("echo", b"x", 60)
        assert asking.problem == "not connected"
    finally:
        server.resume()
    assert await servers.until_answered(asking, "echo") == b"answer"


async def test_a_cluster_that_refuses_the_login_is_left_alone_in_the_pauses(make_server: servers.MakeServer, join: servers.Join) -> None:
    # nats-py heard of the other servers, and of this one again, with each refusal: a hundred tries a second, without an end.
    members = servers.cluster(make_server, 2, 'authorization { user: "right", password: "secret" }\n')
    await servers.until(lambda: all("Route connection created" in one.log for one in members))
    before = asyncio.all_tasks()
    refused = members[0].section(
        user="right", password="wrong", connect_timeout_seconds=0.3, reconnect_initial_seconds=60, reconnect_max_seconds=60
    )
    transport = await join(refused)
    assert transport.problem == "not connected"
    assert 1 <= members[0].log.count("authentication error") <= 3
    assert "authentication error" not in members[1].log, "it was not named"
    await transport.close()
    assert asyncio.all_tasks() <= before


@pytest.mark.slow
async def test_a_bus_that_hangs_again_and_again_is_always_found_again(server: servers.Server, join: servers.Join) -> None:
    # One in twenty was never found: nats-py's cancellation of a task of its own reached the one that connects anew.
    quick = server.section(ping_interval_seconds=0.1, max_outstanding_pings=1, connect_timeout_seconds=0.2)
    asking, answering = await join(quick), await join(quick)
    await answering.subscribe("echo", Inbox(b"answer"))
    for cycle in range(60):
        server.suspend()
        with pytest.raises(errors.BusUnavailable):
            await asking.request("echo", b"x", 60)
        await asyncio.sleep(cycle / 200)
        server.resume()
        assert await servers.until_answered(asking, "echo") == b"answer"


async def test_a_bus_that_throws_its_clients_out_is_asked_again(make_server: servers.MakeServer, join: servers.Join) -> None:
    server = make_server("max_connections: 1")
    first = await join(server.section())
    second = await join(server.section(connect_timeout_seconds=0.3))
    assert first.problem is None
    assert second.problem == "not connected"
    await first.close()
    await servers.until(lambda: second.problem is None)


async def test_a_message_is_measured_by_the_servers_limit_too(make_server: servers.MakeServer, join: servers.Join) -> None:
    transport = await join(make_server("max_payload: 70000").section())
    with pytest.raises(errors.MessageTooLarge, match="The message b has 70001 bytes; 70000 are allowed"):
        await transport.publish("a.b", bytes(70001))
    assert transport.max_message_bytes == 70000
    await transport.publish("a.b", bytes(70000))
    with pytest.raises(base.NoResponders):
        await transport.request("a.b", b"x", 5)


async def test_leaving_a_queue_group_loses_no_message(server: servers.Server, join: servers.Join) -> None:
    asking, staying, leaving = await join(server.section()), await join(server.section()), await join(server.section())
    await staying.subscribe("work", Inbox(b"done"), "group")
    inbox = Inbox(b"done")
    subscription = await leaving.subscribe("work", inbox, "group")
    requests: list[asyncio.Task[bytes]] = []

    async def keep_asking() -> None:
        while len(requests) < 2000:
            requests.extend(asyncio.create_task(asking.request("work", b"x", 5)) for _ in range(50))
            await asyncio.sleep(0)

    going_on = asyncio.create_task(keep_asking())
    await inbox.holds(5)
    await subscription.unsubscribe()
    taken = len(inbox.received)
    await going_on
    assert set(await asyncio.gather(*requests)) == {b"done"}
    assert 5 <= taken < 2000
    assert len(inbox.received) == taken, "a delivery began after the end"


async def test_an_answer_is_not_sent_to_whom_the_sender_names_at_will(server: servers.Server, join: servers.Join) -> None:
    answering = await join(server.section(), may_answer=lambda subject, reply: reply.startswith(f"inbox.{subject}."))
    await answering.subscribe("*", Inbox(b"answer"))
    owner, other = await join(server.section(), "inbox.owner"), await join(server.section(), "inbox.other")
    assert await owner.request("owner", b"x", 5) == b"answer"
    with pytest.raises(base.NoAnswer):
        await other.request("owner", b"x", 0.2)


async def test_what_was_sent_before_closing_arrives(server: servers.Server, join: servers.Join) -> None:
    sender, receiver, inbox = await join(server.section()), await join(server.section()), Inbox()
    await receiver.subscribe("last", inbox)
    for number in range(500):
        await sender.publish("last", str(number).encode())
    await sender.close()
    await inbox.holds(500)
