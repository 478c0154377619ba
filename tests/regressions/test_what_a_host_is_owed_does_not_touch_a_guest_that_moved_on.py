# SPDX-License-Identifier: Apache-2.0
"""What a host was owed was given to it at its return, wherever the guest was by then: it was started twice, or removed where it ran."""

from __future__ import annotations

import logging

import pytest

from tests.functional.flow import asking, making, moving
from wherry.drivers import simulated
from wherry.drivers.simulated import fleet
from wherry.model import guest
from wherry.rpc import messages
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Status = asking.Status
_S = guest.GuestState
_QUICK = {
    "conductor": {"shutdown_timeout_seconds": 5.0, "chore_retry_interval_seconds": 20.0},
    "bus": {"rpc_response_timeout_seconds": 5.0},
}
_DROPPED = "is not wanted any more"


async def _owed(cloud: clouds.Cloud) -> list[tuple[str, str]]:
    return [(one.host, one.command) for one in await cloud.store.read(lambda uow: uow.chores.list())]


async def _source_dies(cloud: clouds.Cloud) -> None:
    """Have the source die while the disks of g1 are sent, and be called dead: the move is failed, and the rest is owed."""
    asking.at_call(cloud, "h1", "send_disks", lambda: cloud.kill_agent("h1"), is_done=False)
    assert (await moving.act(cloud, "g1", "migrate", {"host": "h2"})).status_code == 202
    await cloud.until(lambda: "h1" not in cloud.agents)
    simulated.Disturbances(cloud.world).power_off("h1")
    await asking.force_down(cloud, "h1")
    assert (await moving.until_resting(cloud, "g1")).status is Status.FAILED
    assert ("h1", "RestoreSource") in await _owed(cloud)


def _start_at(cloud: clouds.Cloud, host: str) -> None:
    """Start g1 there by hand, on its shared disk."""
    spec = cloud.world.hosts["h1"].guests[cloud.uuid("g1")].spec
    cloud.world.hosts[host].guests[spec.uuid] = fleet.Guest(spec)


async def _return(cloud: clouds.Cloud) -> None:
    simulated.Disturbances(cloud.world).start_daemon("h1")
    await cloud.start_agent("h1")
    await cloud.clock.sleep(300.0)


async def test_a_source_that_returns_does_not_start_what_runs_elsewhere(
    make_cloud: clouds.MakeCloud, world: simulated.World, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator started it on a third host, where the record followed: it runs there only, and the log says why."""
    async with make_cloud(world, **_QUICK) as cloud:
        await _source_dies(cloud)
        _start_at(cloud, "h3")

        async def has_followed() -> bool:
            return (await moving.states_of(cloud, "g1"))[2] == "h3"

        await cloud.until(has_followed)
        with caplog.at_level(logging.WARNING):
            await _return(cloud)
        assert (moving.state_at(cloud, "h1", "g1"), moving.state_at(cloud, "h3", "g1")) == (_S.SHUT_OFF, _S.RUNNING)
        assert await moving.states_of(cloud, "g1") == ("ACTIVE", None, "h3")
        assert await _owed(cloud) == []
        assert _DROPPED in caplog.text


async def test_a_source_waits_while_another_host_claims_the_guest(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Nobody calls the source dead any more, so the record does not follow; still it is not started there, until the claim is gone."""
    async with make_cloud(world, **_QUICK) as cloud:
        await _source_dies(cloud)
        await asking.force_down(cloud, "h1", is_down=False)
        _start_at(cloud, "h3")

        async def is_disputed() -> bool:
            return bool(await cloud.store.read(lambda uow: uow.disputes.list("h3")))

        await cloud.until(is_disputed)
        await _return(cloud)
        assert (moving.state_at(cloud, "h1", "g1"), moving.state_at(cloud, "h3", "g1")) == (_S.SHUT_OFF, _S.RUNNING)
        assert await _owed(cloud) == [("h1", "RestoreSource")]
        del cloud.world.hosts["h3"].guests[cloud.uuid("g1")]
        await cloud.clock.sleep(300.0)
        assert moving.state_at(cloud, "h1", "g1") is _S.RUNNING
        assert await _owed(cloud) == []


async def test_a_source_that_has_its_server_still_starts_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """What was asked for in vain meanwhile, as a start while the host was dead, takes nothing away."""
    async with make_cloud(world, **_QUICK) as cloud:
        await _source_dies(cloud)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        assert (await asking.until_ended(cloud, "g1")).status is Status.ERROR
        await _return(cloud)
        assert moving.state_at(cloud, "h1", "g1") is _S.RUNNING
        assert await _owed(cloud) == []


_REMOVALS = ("DestroyGuest", "DiscardArrival", "ConfirmSource")


@pytest.mark.parametrize("command", _REMOVALS)
async def test_a_server_that_has_come_to_a_host_is_not_removed_there(
    make_cloud: clouds.MakeCloud, world: simulated.World, command: str
) -> None:
    """The host was owed the removal of what an earlier operation left, which never reached it; now the server is its own, and off."""
    async with make_cloud(world, **_QUICK) as cloud:
        move = await moving.moved(cloud, "g1", "h3")
        plan = (await cloud.store.read(lambda uow: uow.operations.get(move.uuid))).plan
        await moving.settled(cloud, "g1", "confirmResize")
        await asking.move(cloud, "g1", host="h2")
        assert (await moving.act(cloud, "g1", "os-stop")).status_code == 202
        await making.until_free(cloud, cloud.uuid("g1"))
        ids = {"operation_id": "never-heard-of", "epoch": 1, "instance_uuid": cloud.uuid("g1")}
        kind: type[messages.Command] = getattr(messages, command)
        body = kind.model_validate(ids if command == "DestroyGuest" else {**ids, "plan": plan}).model_dump(mode="json")
        await cloud.store.run(lambda uow: uow.chores.add(move.uuid, "h2", command, body))
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h2", "g1") is _S.SHUT_OFF
        assert await moving.states_of(cloud, "g1") == ("SHUTOFF", None, "h2")
        assert await _owed(cloud) == []


async def test_a_removal_waits_while_the_server_may_be_coming(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A migration to the host is under way that is owed the removal of an earlier build's guest: it arrives, and stays."""
    world.add_guest("h1", "busy", memory_mib=8192, dirty_mib_per_s=500.0)
    async with make_cloud(world, **_QUICK) as cloud:
        earlier = await asking.move(cloud, "busy", host="h3")
        ids = {"operation_id": "never-heard-of", "epoch": 1, "instance_uuid": cloud.uuid("busy")}
        body = messages.DestroyGuest.model_validate(ids).model_dump(mode="json")
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.store.run(lambda uow: uow.chores.add(earlier.uuid, "h2", "DestroyGuest", body))
        assert (await asking.until_ended(cloud, "busy")).status is Status.COMPLETED
        await cloud.clock.sleep(60.0)
        assert moving.state_at(cloud, "h2", "busy") is _S.RUNNING
        assert await _owed(cloud) == []
