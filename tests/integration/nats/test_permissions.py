# SPDX-License-Identifier: Apache-2.0
"""A host whose agent is in somebody else's hands: what `wherry bus-permissions` and the conductor leave it is its own.

The server runs with the file as the command prints it. The intruder speaks NATS by itself, logged in as the agent of h1.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import AsyncIterator

import nats as nats_py
import pytest
from nats.aio import client as nats_client
from nats.aio import msg as nats_msg

from tests.functional.flow import asking
from tests.integration.nats import servers, system
from wherry import errors
from wherry.cmd import main
from wherry.config import bus as config_bus
from wherry.model import guest, progress, truth
from wherry.rpc import addresses, envelope, messages
from wherry.rpc.transports import base, nats
from wherry.testing import cloud as clouds
from wherry.testing.transport_contract.suite import Inbox

pytestmark = pytest.mark.nats

_USERS = ("agent-h1", "agent-h2", "agent-h3", "control")
_ARGUMENTS = ("--agent", "h1", "--agent", "h2", "--agent", "h3", "--user", "control=api:control,conductor:control")
_SECRETS = {f"WHERRY_BUS_{user.upper().replace('-', '_')}": f"secret-of-{user}" for user in _USERS}
_INTRUDER = addresses.Sender(addresses.Role.AGENT, "h1")


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.main(["bus-permissions", *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture
def guarded(make_server: servers.MakeServer, capsys: pytest.CaptureFixture[str]) -> servers.Server:
    """Start a server with the generated file, the passwords in its environment."""
    return make_server(_printed(capsys, *_ARGUMENTS), {**os.environ, **_SECRETS})


def section_of(server: servers.Server, sender: addresses.Sender) -> config_bus.BusSection:
    user = f"agent-{sender.name}" if sender.role is addresses.Role.AGENT else "control"
    return server.section(user=user, password=f"secret-of-{user}")


@dataclasses.dataclass(frozen=True, slots=True)
class Intruder:
    """Somebody with h1's login, and what the server refused him so far."""

    client: nats_client.Client
    refused: list[str]

    async def until_refused(self, subject: str) -> None:
        """Wait until the server has refused this subject. nats-py has lost its capitals."""
        await servers.until(lambda: any(f'"{subject.lower()}"' in one for one in self.refused))

    async def ask(self, sender: addresses.Sender, request: messages.Message) -> bytes:
        """Ask the conductors, as whom one likes."""
        subject = addresses.subject(addresses.conductor(), sender, type(request).__name__)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def on_answer(message: nats_msg.Msg) -> None:
            if not answer.done():
                answer.set_result(message.data)

        inbox = f"{addresses.inbox(_INTRUDER)}.intruder"
        subscription = await self.client.subscribe(inbox, cb=on_answer)
        try:
            await self.client.publish(subject, envelope.pack(request, ""), inbox)
            async with asyncio.timeout(3):
                return await answer
        finally:
            await subscription.unsubscribe()


@contextlib.asynccontextmanager
async def intrusion(server: servers.Server) -> AsyncIterator[Intruder]:
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    made = await nats_py.connect(server.url, user="agent-h1", password="secret-of-agent-h1", error_cb=on_error)
    try:
        yield Intruder(made, refused)
    finally:
        await made.close()


async def test_migrations_run_under_the_permissions(guarded: servers.Server, tmp_path: pathlib.Path) -> None:
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: section_of(guarded, sender)) as cloud:
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        # Below 2.34 the api waits for the conductor's answer.
        assert (await cloud.live_migrate("g2", host="h3", version="2.30")).status_code == 202
        for name in ("g1", "g2"):
            assert (await asking.until_ended(cloud, name)).status is asking.Status.COMPLETED
    assert "Violation" not in guarded.log


async def test_nobody_gets_in_without_a_password(guarded: servers.Server, join: servers.Join) -> None:
    for options in ({}, {"user": "agent-h1", "password": "secret-of-agent-h2"}, {"user": "agent-h9", "password": "x"}):
        transport = await join(guarded.section(connect_timeout_seconds=0.3, **options))
        assert transport.problem == "not connected"


async def test_an_agent_hears_nothing_that_is_not_its_own(guarded: servers.Server, tmp_path: pathlib.Path) -> None:
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: section_of(guarded, sender)) as cloud, intrusion(guarded) as intruder:
        heard: list[str] = []

        async def listen(message: nats_msg.Msg) -> None:
            heard.append(message.subject)

        patterns = (
            *(">", "*.>", "wherry.>", "wherry.agent.>", "wherry.agent.h2.>", "wherry.agent.*.StartTransfer"),
            *("wherry.inbox.>", "wherry.inbox.agent.>", "wherry.inbox.agent.h2.>", "wherry.inbox.conductor.>", "wherry.inbox.api.>"),
            *("wherry.conductor.>", "wherry.conductor.agent.h2.>", "wherry.conductor.agent.h1.>", "_INBOX.>", "$SYS.>"),
        )
        for pattern in patterns:
            await intruder.client.subscribe(pattern, cb=listen)
            await intruder.until_refused(pattern)
        assert (await cloud.live_migrate("g2", host="h3")).status_code == 202
        assert (await asking.until_ended(cloud, "g2")).status is asking.Status.COMPLETED
        assert heard == []


async def test_an_agent_can_send_nothing_that_is_not_its_own(guarded: servers.Server, join: servers.Join) -> None:
    """As another agent, an api or a conductor; into another's inbox; a start that it was once sent, again and elsewhere."""
    conductor = addresses.Sender(addresses.Role.CONDUCTOR, "control")
    everything = Inbox()
    others = await join(section_of(guarded, conductor), addresses.inbox(conductor))
    for pattern in ("wherry.conductor.>", f"{addresses.inbox(conductor)}.>"):
        await others.subscribe(pattern, everything)
    victim = addresses.Sender(addresses.Role.AGENT, "h2")
    hearing = await join(section_of(guarded, victim), addresses.inbox(victim))
    for pattern in ("wherry.agent.h2.>", f"{addresses.inbox(victim)}.>"):
        await hearing.subscribe(pattern, everything)
    start = b'{"message":"StartTransfer","request_id":"","payload":{}}'
    async with intrusion(guarded) as intruder:
        forbidden = (
            "wherry.agent.h2.StartTransfer",
            "wherry.agent.h1.StartTransfer",
            addresses.subject(addresses.conductor(), victim, "TransferEnded"),
            addresses.subject(addresses.conductor(), addresses.Sender(addresses.Role.API, "control"), "MigrateServer"),
            addresses.subject(addresses.conductor(), conductor, "Heartbeat"),
            f"{addresses.inbox(victim)}.x.1",
            f"{addresses.inbox(conductor)}.x.1",
        )
        for subject in forbidden:
            await intruder.client.publish(subject, start)
            await intruder.until_refused(subject)
    await others.publish("wherry.agent.h2.Last", b"last")
    await everything.holds(1)
    assert [subject for subject, _ in everything.received] == ["wherry.agent.h2.Last"]


async def test_an_answer_is_given_once_and_to_who_asked(guarded: servers.Server, join: servers.Join) -> None:
    conductor = addresses.Sender(addresses.Role.CONDUCTOR, "control")
    commanding = await join(section_of(guarded, conductor), addresses.inbox(conductor))
    async with intrusion(guarded) as intruder:

        async def answer_twice(message: nats_msg.Msg) -> None:
            for _ in range(2):
                await intruder.client.publish(message.reply, b"answer")

        await intruder.client.subscribe("wherry.agent.h1.*", cb=answer_twice)
        await intruder.client.flush()
        assert await commanding.request("wherry.agent.h1.ObserveGuest", b"x", 3) == b"answer"
        await servers.until(lambda: any("publish" in one and "wherry.inbox.conductor.control." in one for one in intruder.refused))


async def test_what_is_refused_fails_at_once_and_is_told(
    guarded: servers.Server, join: servers.Join, caplog: pytest.LogCaptureFixture
) -> None:
    agent = addresses.Sender(addresses.Role.AGENT, "h1")
    transport = await join(section_of(guarded, agent), addresses.inbox(agent))
    other = addresses.subject(addresses.conductor(), addresses.Sender(addresses.Role.AGENT, "h2"), "Heartbeat")
    async with asyncio.timeout(2):
        with pytest.raises(errors.BusForbidden, match=f"send to {other}") as caught:
            await transport.request(other, b"x", 60)
        with pytest.raises(errors.BusForbidden, match=r"listen to wherry\.agent\.h2\.\*"):
            await transport.subscribe("wherry.agent.h2.*", Inbox())
    assert caught.value.retryable, "a report must not be given up for it"
    assert "The bus does not let this process send." in caplog.text
    # Who took another's inbox for its own cannot hear answers, and so is not connected at all.
    mistaken = await join(
        guarded.section(user="agent-h1", password="secret-of-agent-h1", connect_timeout_seconds=0.3), "wherry.inbox.agent.h2"
    )
    assert mistaken.problem == "not connected"
    assert "secret-of" not in caplog.text


async def test_a_claim_of_anothers_server_moves_nothing(guarded: servers.Server, tmp_path: pathlib.Path) -> None:
    """Inventory, facts, counters, a registration and an api's messages, all by h1 about what is not h1's."""
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: section_of(guarded, sender)) as cloud:
        # His agent, not ours, answers for h1 from now on.
        await cloud.stop_agent("h1")
        assert (await cloud.live_migrate("g2", host="h3")).status_code == 202
        record = await asking.until_status(cloud, "g2", asking.Status.RUNNING)
        async with intrusion(guarded) as intruder:
            gone = guest.Observation(state=guest.GuestState.ABSENT)
            ended = messages.TransferEnded(
                operation_id=record.uuid, epoch=1, sequence=99, host="h1", observation=gone, intent=truth.LastIntent.NONE
            )
            forgeries: list[messages.Message] = [
                ended,
                ended.model_copy(update={"host": "h2"}),
                messages.IntentRecorded(operation_id=record.uuid),
                messages.MigrateServer(operation_id=record.uuid),
                messages.Heartbeat(name="h2", incarnation="x"),
                messages.ReportInventory(name="h2", incarnation="x", sequence=10**6, is_complete=True, guests=()),
            ]
            for forgery in forgeries:
                with pytest.raises(errors.SenderRefused):
                    envelope.unpack_answer(ended, await intruder.ask(_INTRUDER, forgery))
            lie = progress.Progress(memory_total_bytes=1, memory_processed_bytes=1)
            counted = messages.TransferProgressed(operation_id=record.uuid, epoch=1, host="h1", progress=lie)
            await intruder.ask(_INTRUDER, counted)
        assert (await asking.until_ended(cloud, "g2")).status is asking.Status.COMPLETED
        shown = (await asking.migration_of(cloud, "g2")).progress
        assert shown is not None
        assert shown.memory_total_bytes > 1
        assert [await _host_of(cloud, name) for name in ("g1", "g2", "g3")] == ["h1", "h3", "h3"]


@pytest.mark.parametrize("state", [guest.GuestState.RUNNING, guest.GuestState.SHUT_OFF], ids=lambda state: state.value)
async def test_a_server_that_another_claims_stays_as_it_is(
    guarded: servers.Server, tmp_path: pathlib.Path, state: guest.GuestState
) -> None:
    """h1 says, and insists when asked, that it runs h3's guest, which runs or is off there: an operator is told, and nothing changes."""
    world = system.three_hosts()
    async with system.NatsCloud(world, tmp_path, lambda sender: section_of(guarded, sender)) as cloud:
        await cloud.stop_agent("h1")
        claimed = next(one for one in world.hosts["h3"].guests.values())
        claimed.state = state
        asked: list[str] = []
        async with intrusion(guarded) as intruder:

            async def insist(message: nats_msg.Msg) -> None:
                asked.append(message.subject)
                seen = messages.Observed(observation=guest.Observation(state=guest.GuestState.RUNNING))
                await intruder.client.publish(message.reply, envelope.pack_reply(seen))

            await intruder.client.subscribe("wherry.agent.h1.*", cb=insist)
            (known,) = [one for one in await cloud.store.read(lambda uow: uow.hosts.list()) if one.name == "h1"]
            claim = messages.ReportInventory(
                name="h1",
                incarnation=known.incarnation,
                sequence=10**6,
                is_complete=False,
                guests=(guest.Guest(uuid=claimed.spec.uuid, name="g3", state=guest.GuestState.RUNNING, memory_mib=1, vcpus=1),),
            )
            envelope.unpack_answer(claim, await intruder.ask(_INTRUDER, claim))
        assert asked == ["wherry.agent.h1.ObserveGuest"]
        server = await cloud.server("g3")
        assert server["OS-EXT-SRV-ATTR:host"] == "h3"
        assert server["status"] != "ERROR"
        (told,) = await cloud.store.read(lambda uow: uow.disputes.list())
        assert (told.instance_uuid, told.host, told.recorded_host, told.recorded_state) == (claimed.spec.uuid, "h1", "h3", state)
        assert [one.spec.name for one in world.hosts["h3"].guests.values()] == ["g3"]


async def test_a_conductor_does_not_answer_where_an_agent_has_no_business(guarded: servers.Server, join: servers.Join) -> None:
    """Who asks says where the answer goes, and the server lets him say anything."""
    conductor, victim = addresses.Sender(addresses.Role.CONDUCTOR, "control"), addresses.Sender(addresses.Role.AGENT, "h2")
    answering = await join(section_of(guarded, conductor), addresses.inbox(conductor), addresses.may_be_answered)
    await answering.subscribe("wherry.conductor.*.*.*", Inbox(b"answer"), "conductors")
    inbox = Inbox()
    hearing = await join(section_of(guarded, victim), addresses.inbox(victim))
    for pattern in ("wherry.agent.h2.*", f"{addresses.inbox(victim)}.>"):
        await hearing.subscribe(pattern, inbox)
    async with intrusion(guarded) as intruder:
        for reply in ("wherry.agent.h2.StartTransfer", f"{addresses.inbox(victim)}.guessed.1"):
            await intruder.client.publish("wherry.conductor.agent.h1.Heartbeat", b"x", reply=reply)
        assert await intruder.ask(_INTRUDER, messages.Heartbeat(name="h1", incarnation="x")) == b"answer"
    assert inbox.received == []


async def test_permissions_that_change_reach_a_process_that_runs(
    guarded: servers.Server, join: servers.Join, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server throws out whose permissions changed, and nats-py takes that for the end; the process comes back by itself."""
    agent = addresses.Sender(addresses.Role.AGENT, "h3")
    transport = await join(section_of(guarded, agent), addresses.inbox(agent))
    guarded.reload(_printed(capsys, *_ARGUMENTS[:4], *_ARGUMENTS[-2:]))
    await servers.until(lambda: transport.problem == "not connected")
    guarded.reload(_printed(capsys, *_ARGUMENTS))
    await servers.until(lambda: transport.problem is None)
    with pytest.raises(base.NoResponders):
        await transport.request(addresses.subject(addresses.conductor(), agent, "Heartbeat"), b"x", 3)


async def test_hashes_of_passwords_let_their_owners_in(
    make_server: servers.MakeServer, join: servers.Join, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    # The hash of "correct horse", with the beginnings that bcrypt, Python and htpasswd give it.
    tail = "$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
    file = tmp_path / "hashes"
    file.write_text(f"# made by htpasswd\nagent-a:$2a{tail}\nagent-b:$2b{tail}\n\nagent-y:$2y{tail}\n")
    server = make_server(_printed(capsys, "--agent", "a", "--agent", "b", "--agent", "y", "--hashes", str(file)))
    for host in ("a", "b", "y"):
        sender = addresses.Sender(addresses.Role.AGENT, host)
        for password, problem in (("correct horse", None), (f"$2{host}{tail}", "not connected")):
            # Who is let in waits no longer than it takes, also on a busy machine; who is not waits for all of it.
            seconds = 10.0 if problem is None else 0.5
            section = server.section(user=f"agent-{host}", password=password, connect_timeout_seconds=seconds)
            transport: nats.NatsTransport = await join(section, addresses.inbox(sender))
            assert transport.problem == problem


async def _host_of(cloud: clouds.Cloud, name: str) -> str:
    return str((await cloud.server(name))["OS-EXT-SRV-ATTR:host"])
