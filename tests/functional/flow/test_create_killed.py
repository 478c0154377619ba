# SPDX-License-Identifier: Apache-2.0
"""Whoever dies while a server is made or deleted: it ends ACTIVE, or in ERROR, or gone, and nothing is left over."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.model import operation
from wherry.testing import cloud as clouds
from wherry.testing import mortal

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Step = operation.StepName
_ZONE = "nova:h1"


async def _expect_whole(cloud: clouds.Cloud, uuid: str, before: tuple[object, object]) -> None:
    """The server is active on one host with one disk, or in error with nothing; deleted, it leaves what was there before."""
    await making.until_free(cloud, uuid, seconds=1200)
    shown = await making.show(cloud, uuid)
    places = [name for name, guests in making.guests_of(cloud).items() if uuid in guests]
    disks = [name for names in making.files_of(cloud).values() for name in names if uuid in name]
    if shown["status"] == "ACTIVE":
        assert places == [shown["OS-EXT-SRV-ATTR:host"]]
        assert disks == [f"{uuid}.qcow2"]
    else:
        assert (shown["status"], places, disks) == ("ERROR", [], [])
        assert shown["fault"]["message"]
    assert shown["OS-EXT-STS:task_state"] is None
    await making.delete(cloud, uuid)
    await _expect_gone(cloud, uuid, before)


async def _expect_gone(cloud: clouds.Cloud, uuid: str, before: tuple[object, object]) -> None:
    async def is_gone() -> bool:
        return (await cloud.request("GET", f"/v2.1/servers/{uuid}")).status_code == 404

    await cloud.until(is_gone, seconds=1200)
    await cloud.clock.sleep(200)
    assert (making.guests_of(cloud), making.files_of(cloud)) == before
    actions = (await cloud.request("GET", f"/v2.1/servers/{uuid}/os-instance-actions")).json()["instanceActions"]
    for action in actions:
        await making.events(cloud, uuid, action["request_id"])
    assert not await cloud.store.read(lambda uow: uow.operations.operations_with_pending_intents())
    assert not await cloud.store.read(lambda uow: uow.chores.list())


def _before(cloud: clouds.Cloud) -> tuple[object, object]:
    return making.guests_of(cloud), making.files_of(cloud)


@pytest.mark.parametrize("is_failing", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "failing"])
@pytest.mark.parametrize("has_other", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["restarted", "taken-over"])
@pytest.mark.parametrize("step", [Step.CHOOSE_HOST, Step.BUILD, Step.TAKE_BACK, Step.DONE])
async def test_a_conductor_is_killed_just_after_storing_a_step_of_a_build(
    make_cloud: clouds.MakeCloud, world: simulated.World, step: Step, has_other: bool, is_failing: bool
) -> None:
    if is_failing or step is Step.TAKE_BACK:
        fault = simulated.CallFault(kind=simulated.FaultKind.RAISE, method="build_guest", slug="build_failed", when=simulated.When.AFTER)
        world.faults.add(fault)
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        if has_other:
            await cloud.start_conductor()
        killed: list[str] = []

        def kill(conductor_id: str) -> None:
            cloud.kill_conductor(conductor_id)
            killed.append(conductor_id)

        asking.at_step(cloud, step, kill)
        uuid, _ = await making.create(cloud)
        await cloud.until(lambda: killed)
        if not has_other:
            await cloud.clock.sleep(1.0)
            await cloud.start_conductor()
        await _expect_whole(cloud, uuid, before)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", ["build_guest", "destroy_guest"])
async def test_an_agent_is_killed_around_a_call_of_its_hypervisor(
    make_cloud: clouds.MakeCloud, world: simulated.World, method: str, is_done: bool
) -> None:
    if method == "destroy_guest":
        fault = simulated.CallFault(
            kind=simulated.FaultKind.RAISE, method="build_guest", host="h1", slug="build_failed", when=simulated.When.AFTER
        )
        world.faults.add(fault)
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        killed: list[bool] = []

        def kill() -> None:
            cloud.kill_agent("h1")
            killed.append(True)

        asking.at_call(cloud, "h1", method, kill, is_done=is_done)
        uuid, _ = await making.create(cloud, availability_zone=_ZONE)
        await cloud.until(lambda: killed)
        await cloud.clock.sleep(3.0)
        await cloud.start_agent("h1")
        await _expect_whole(cloud, uuid, before)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
async def test_an_agent_is_killed_while_a_server_is_deleted(make_cloud: clouds.MakeCloud, world: simulated.World, is_done: bool) -> None:
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        uuid, _ = await making.create(cloud, availability_zone=_ZONE)
        await making.until_free(cloud, uuid)
        killed: list[bool] = []

        def kill() -> None:
            cloud.kill_agent("h1")
            killed.append(True)

        asking.at_call(cloud, "h1", "destroy_guest", kill, is_done=is_done)
        await making.delete(cloud, uuid)
        await cloud.until(lambda: killed)
        await cloud.clock.sleep(3.0)
        await cloud.start_agent("h1")
        await _expect_gone(cloud, uuid, before)


@pytest.mark.parametrize("step", [Step.DESTROY, Step.DONE])
async def test_a_conductor_is_killed_while_a_server_is_deleted(make_cloud: clouds.MakeCloud, world: simulated.World, step: Step) -> None:
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        uuid, _ = await making.create(cloud)
        await making.until_free(cloud, uuid)
        killed: list[str] = []

        def kill(conductor_id: str) -> None:
            cloud.kill_conductor(conductor_id)
            killed.append(conductor_id)

        asking.at_step(cloud, step, kill)
        await making.delete(cloud, uuid)
        await cloud.until(lambda: killed)
        await cloud.clock.sleep(1.0)
        await cloud.start_conductor()
        await _expect_gone(cloud, uuid, before)


@pytest.mark.parametrize("fate", [mortal.Fate.LOST, pytest.param(mortal.Fate.DOUBLED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("message", ["OperationRecorded", "BuildGuest", "DestroyGuest"])
async def test_a_message_is_lost_or_doubled(make_cloud: clouds.MakeCloud, world: simulated.World, message: str, fate: mortal.Fate) -> None:
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        met: list[bool] = []

        def strike() -> mortal.Fate:
            met.append(True)
            return fate

        asking.at_message(cloud, message, strike)
        uuid, _ = await making.create(cloud)
        await making.until_free(cloud, uuid, seconds=1200)
        await _expect_whole(cloud, uuid, before)
        assert met


async def test_a_host_that_is_called_dead_while_it_builds_is_owed_the_cleaning(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    # The first choice is the host with the most memory.
    world.hosts["h2"].memory_mib = world.hosts["h3"].memory_mib = 32_768
    async with make_cloud(world) as cloud:
        before = _before(cloud)
        killed: list[bool] = []

        def kill() -> None:
            cloud.kill_agent("h1")
            killed.append(True)

        asking.at_call(cloud, "h1", "build_guest", kill, is_done=True)
        uuid, _ = await making.create(cloud)
        await cloud.until(lambda: killed)
        services = (await cloud.request("GET", "/v2.1/os-services?host=h1")).json()["services"]
        answer = await cloud.request("PUT", f"/v2.1/os-services/{services[0]['id']}", json={"forced_down": True})
        assert answer.status_code == 200, answer.text

        async def is_elsewhere() -> bool:
            shown = await making.show(cloud, uuid)
            return bool(shown["status"] == "ACTIVE" and shown["OS-EXT-SRV-ATTR:host"] != "h1")

        await cloud.until(is_elsewhere, seconds=1200)
        assert uuid in world.host("h1").guests, "nobody could clean it"
        await cloud.start_agent("h1")
        await cloud.until(lambda: uuid not in world.host("h1").guests, seconds=1200)
        await making.delete(cloud, uuid)
        await _expect_gone(cloud, uuid, before)
