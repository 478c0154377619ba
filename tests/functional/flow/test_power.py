# SPDX-License-Identifier: Apache-2.0
"""Pause, unpause, stop and start, from the request to the guest and back, whoever dies on the way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking
from wherry.drivers import simulated
from wherry.model import guest, instance_actions, operation
from wherry.testing import cloud as clouds
from wherry.testing import mortal, virtual_time

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

Step = operation.StepName
_S = guest.GuestState

#: What the wire calls it -> the action's own name.
_NAMES = {"pause": "pause", "unpause": "unpause", "os-stop": "stop", "os-start": "start", "suspend": "suspend"}
#: Where each leads: status, power_state, and the guest itself.
_ENDS = {
    "pause": ("PAUSED", 3, _S.PAUSED),
    "unpause": ("ACTIVE", 1, _S.RUNNING),
    "os-stop": ("SHUTOFF", 4, _S.SHUT_OFF),
    "os-start": ("ACTIVE", 1, _S.RUNNING),
    "suspend": ("SUSPENDED", 4, _S.SHUT_OFF),
}
#: State in which it may be asked for.
_FROM = {"pause": _S.RUNNING, "unpause": _S.PAUSED, "os-stop": _S.RUNNING, "os-start": _S.SHUT_OFF, "suspend": _S.RUNNING}
#: Method of the driver that does it.
_METHODS = {
    "pause": "pause_guest",
    "unpause": "resume_guest",
    "os-stop": "power_off_guest",
    "os-start": "start_guest",
    "suspend": "suspend_guest",
}


def _with(world: simulated.World, action: str, **fields: Any) -> simulated.World:
    """Add a guest `g2` on h1 in the state from which the action leads."""
    world.add_guest("h1", "g2", state=_FROM[action], memory_mib=1024, **fields)
    return world


async def _ask(cloud: clouds.Cloud, action: str, name: str = "g2", value: Any = None) -> str:
    """Ask for an action; give the request's id."""
    answer = await cloud.request("POST", asking.server_path(cloud, name, "/action"), json={action: value})
    assert (answer.status_code, answer.content) == (202, b""), answer.text
    return answer.headers["x-openstack-request-id"]


async def _free(cloud: clouds.Cloud, name: str = "g2", *, seconds: float = 120.0) -> dict[str, Any]:
    """Wait until no operation holds the server, and give it."""

    async def is_free() -> bool:
        return await cloud.store.read(lambda uow: uow.operations.open_of_instance(cloud.uuid(name))) is None

    await cloud.until(is_free, seconds=seconds)
    return await cloud.server(name)


async def _action(cloud: clouds.Cloud, request_id: str, name: str = "g2") -> instance_actions.InstanceAction:
    """Give a request's action, all of whose events must be over."""
    action = await asking.action_of(cloud, name, request_id)
    assert action.events and all(event.finished_at is not None for event in action.events), action
    return action


async def _expect(cloud: clouds.Cloud, action: str, request_id: str, name: str = "g2", *, seconds: float = 3.0) -> None:
    """The action was carried out: guest, server and event agree, and still do after so long, when the inventory has had its say."""
    for _ in range(2):
        server = await _free(cloud, name)
        status, power_state, state = _ENDS[action]
        assert (server["status"], server["OS-EXT-STS:power_state"], server["OS-EXT-STS:task_state"]) == (status, power_state, None)
        assert cloud.world.host("h1").guests[cloud.uuid(name)].state is state
        told = await _action(cloud, request_id, name)
        events = [(event.name, event.host, event.result) for event in told.events]
        assert (told.action, told.message) == (_NAMES[action], None)
        assert events == [(f"compute_{_NAMES[action]}_instance", "h1", instance_actions.Result.SUCCESS)]
        await cloud.clock.sleep(seconds)


def _calls(cloud: clouds.Cloud, method: str) -> list[float]:
    """Have the times written down at which an agent makes this call of its driver."""
    made: list[float] = []

    def told(_host: str, called: str, is_done: bool) -> None:
        if called == method and not is_done:
            made.append(cloud.clock.monotonic())

    cloud.on_call.append(told)
    return made


async def test_a_guest_goes_through_all_four(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Each is told by its own request id, and none of them is a migration."""
    async with make_cloud(_with(world, "pause")) as cloud:
        for action in ("pause", "unpause", "os-stop", "os-start"):
            await _expect(cloud, action, await _ask(cloud, action), seconds=70.0)
        assert await asking.migrations_of(cloud, "g2") == []
        listed = (await cloud.request("GET", asking.server_path(cloud, "g2", "/os-instance-actions"))).json()["instanceActions"]
        assert [one["action"] for one in listed] == ["start", "stop", "unpause", "pause"]


@pytest.mark.parametrize(
    ("shutdown_seconds", "options", "took"),
    [(5.0, {}, (5.0, 7.0, 1)), (None, {}, (60.0, 62.0, 6)), (None, {"shutdown_timeout_seconds": 12.0}, (12.0, 14.0, 2))],
    ids=["heeds", "does-not-heed", "shorter"],
)
async def test_a_guest_has_its_time_to_shut_down(
    make_cloud: clouds.MakeCloud,
    world: simulated.World,
    shutdown_seconds: float | None,
    options: dict[str, Any],
    took: tuple[float, float, int],
) -> None:
    """Its power is taken when it is off by itself, or when its time is over, and not before; it is asked every ten seconds."""
    async with make_cloud(_with(world, "os-stop", shutdown_seconds=shutdown_seconds), conductor=options) as cloud:
        asked, taken = _calls(cloud, "shut_down_guest"), _calls(cloud, "power_off_guest")
        started = cloud.clock.monotonic()
        request_id = await _ask(cloud, "os-stop")
        await cloud.until(lambda: taken)
        assert took[0] <= taken[0] - started <= took[1]
        assert len(asked) == took[2]
        await _expect(cloud, "os-stop", request_id)
        assert len(taken) == 1


async def test_without_a_timeout_the_power_is_taken_at_once(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(_with(world, "os-stop"), conductor={"shutdown_timeout_seconds": 0}) as cloud:
        asked, taken = _calls(cloud, "shut_down_guest"), _calls(cloud, "power_off_guest")
        await _expect(cloud, "os-stop", await _ask(cloud, "os-stop"))
        assert (len(asked), len(taken)) == (0, 1)


_DEATHS = [
    ("os-stop", Step.SHUT_DOWN),
    ("os-stop", Step.CHANGE_POWER),
    ("os-stop", Step.DONE),
    ("os-start", Step.CHANGE_POWER),
    ("os-start", Step.DONE),
    ("pause", Step.CHANGE_POWER),
]


@pytest.mark.parametrize("has_other", [False, True], ids=["restarted", "taken-over"])
@pytest.mark.parametrize(("action", "step"), _DEATHS, ids=[f"{action}-{step.value}" for action, step in _DEATHS])
async def test_a_conductor_is_killed_just_after_storing_a_step(
    make_cloud: clouds.MakeCloud, world: simulated.World, action: str, step: Step, has_other: bool
) -> None:
    """Between the commit and learning of it: the next one carries the action out, or finds it carried out."""
    async with make_cloud(_with(world, action)) as cloud:
        if has_other:
            await cloud.start_conductor()
        killed: list[str] = []

        def kill(conductor_id: str) -> None:
            cloud.kill_conductor(conductor_id)
            killed.append(conductor_id)

        asking.at_step(cloud, step, kill)
        request_id = await _ask(cloud, action)
        await cloud.until(lambda: killed)
        if not has_other:
            await cloud.clock.sleep(1.0)
            await cloud.start_conductor()
        await _expect(cloud, action, request_id)


_MESSAGES = [("os-stop", "ShutDownGuest"), ("os-stop", "ObserveGuest"), ("os-stop", "ChangePower"), ("os-start", "ChangePower")]


@pytest.mark.parametrize("is_sent", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("action", "message"), [*_MESSAGES, ("pause", "OperationRecorded")])
async def test_a_conductor_is_killed_around_a_message(
    make_cloud: clouds.MakeCloud, world: simulated.World, action: str, message: str, is_sent: bool
) -> None:
    async with make_cloud(_with(world, action, shutdown_seconds=5.0)) as cloud:
        killed: list[bool] = []

        def strike() -> mortal.Fate:
            cloud.kill_conductor()
            killed.append(True)
            return mortal.Fate.DELIVERED if is_sent else mortal.Fate.LOST

        asking.at_message(cloud, message, strike)
        request_id = await _ask(cloud, action)
        await cloud.until(lambda: killed)
        await cloud.clock.sleep(1.0)
        await cloud.start_conductor()
        await _expect(cloud, action, request_id)


async def test_the_time_to_shut_down_is_not_begun_anew_by_a_conductor_that_takes_over(
    make_cloud: clouds.MakeCloud, world: simulated.World
) -> None:
    async with make_cloud(_with(world, "os-stop", shutdown_seconds=None)) as cloud:
        taken, started = _calls(cloud, "power_off_guest"), cloud.clock.monotonic()
        request_id = await _ask(cloud, "os-stop")
        await cloud.clock.sleep(40.0)
        cloud.kill_conductor()
        await cloud.start_conductor()
        await cloud.until(lambda: taken)
        assert taken[0] - started <= 62.0
        await _expect(cloud, "os-stop", request_id)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("action", "method"), [*_METHODS.items(), ("os-stop", "shut_down_guest"), ("os-start", "observe_guest")])
async def test_an_agent_is_killed_around_a_call_of_its_hypervisor(
    make_cloud: clouds.MakeCloud, world: simulated.World, action: str, method: str, is_done: bool
) -> None:
    """Back after three seconds, it is told again, and finds the work done where it was."""
    async with make_cloud(_with(world, action)) as cloud:
        killed: list[bool] = []

        def kill() -> None:
            cloud.kill_agent("h1")
            killed.append(True)

        asking.at_call(cloud, "h1", method, kill, is_done=is_done)
        request_id = await _ask(cloud, action)
        await cloud.until(lambda: killed)
        await cloud.clock.sleep(3.0)
        await cloud.start_agent("h1")
        await _expect(cloud, action, request_id)


@pytest.mark.parametrize("fate", [mortal.Fate.LOST, mortal.Fate.DOUBLED])
@pytest.mark.parametrize(("action", "message"), [*_MESSAGES, ("unpause", "OperationRecorded")])
async def test_a_message_is_lost_or_doubled(
    make_cloud: clouds.MakeCloud, world: simulated.World, action: str, message: str, fate: mortal.Fate
) -> None:
    async with make_cloud(_with(world, action, shutdown_seconds=5.0)) as cloud:
        asking.at_message(cloud, message, lambda: fate)
        request_id = await _ask(cloud, action)
        await _free(cloud, seconds=600.0)
        await _expect(cloud, action, request_id)


async def test_one_operation_keeps_the_others_out(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A migration and a power action exclude each other both ways, with a 409 that names what is in the way."""
    _with(world, "os-stop", shutdown_seconds=None)
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=2000.0)
    async with make_cloud(world) as cloud:
        await _ask(cloud, "os-stop")
        refused = await cloud.live_migrate("g2")
        assert refused.status_code == 409
        wanted = f"Cannot 'os-migrateLive' instance {cloud.uuid('g2')} while it is in task_state powering-off"
        assert refused.json()["conflictingRequest"]["message"].startswith(f"{wanted}. Send it again when that has ended")
        refused = await cloud.request("POST", asking.server_path(cloud, "g2", "/action"), json={"pause": None})
        assert refused.status_code == 409
        assert (await cloud.live_migrate("busy")).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        for action in ("pause", "os-stop"):
            refused = await cloud.request("POST", asking.server_path(cloud, "busy", "/action"), json={action: None})
            assert refused.status_code == 409
            assert f"Cannot '{_NAMES[action]}' instance {cloud.uuid('busy')} while it is in task_state migrating" in refused.text
        assert (await asking.abort(cloud, "busy")).status_code == 202


async def test_the_inventory_leaves_a_server_alone_that_is_being_stopped(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Somebody pauses it meanwhile: that is nobody's business until the stop has ended."""
    async with make_cloud(_with(world, "os-stop", shutdown_seconds=None), agent={"inventory_interval_seconds": 2}) as cloud:
        request_id = await _ask(cloud, "os-stop")
        await cloud.clock.sleep(10.0)
        simulated.Disturbances(world).pause_guest("h1", cloud.uuid("g2"))
        await cloud.clock.sleep(10.0)
        server = await cloud.server("g2")
        assert (server["OS-EXT-STS:vm_state"], server["OS-EXT-STS:task_state"]) == ("active", "powering-off")
        await _expect(cloud, "os-stop", request_id)


async def _refused(cloud: clouds.Cloud, action: str, request_id: str, status: str) -> str:
    """The action failed and changed nothing; give why."""
    server = await _free(cloud)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == (status, None)
    assert cloud.world.host("h1").guests[cloud.uuid("g2")].state is _FROM[action]
    told = await _action(cloud, request_id)
    assert told.message == "Error"
    return told.events[0].details or ""


async def test_a_guest_that_cannot_start_stays_off(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/own/gone.raw")
    _with(world, "os-start", disks=(disk,))
    world.host("h1").stores["/own"].remove("gone.raw")
    async with make_cloud(world) as cloud:
        details = await _refused(cloud, "os-start", await _ask(cloud, "os-start"), "SHUTOFF")
        assert "cannot access storage file /own/gone.raw" in details


async def test_a_transient_guest_is_not_stopped(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """Nothing would be left of it but its disks."""
    async with make_cloud(_with(world, "os-stop", is_persistent=False)) as cloud:
        details = await _refused(cloud, "os-stop", await _ask(cloud, "os-stop"), "ACTIVE")
        assert "transient" in details and "virsh define" in details


async def test_a_hypervisor_that_cannot_pause_says_so(make_cloud: clouds.MakeCloud) -> None:
    world = simulated.World(clock=virtual_time.virtual_clock())
    world.add_host("h1", profile=simulated.PROFILES["vmware"])
    async with make_cloud(_with(world, "pause")) as cloud:
        details = await _refused(cloud, "pause", await _ask(cloud, "pause"), "ACTIVE")
        assert "pausing a guest is not supported by the vmware driver" in details


async def test_a_silent_host_is_waited_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(_with(world, "pause")) as cloud:
        cloud.kill_agent("h1")
        request_id = await _ask(cloud, "pause")
        await cloud.clock.sleep(300.0)
        assert (await cloud.server("g2"))["OS-EXT-STS:task_state"] == "pausing"
        await cloud.start_agent("h1")
        await _expect(cloud, "pause", request_id)


async def test_a_dead_host_is_not_waited_for(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """An operator's word ends it in error."""
    async with make_cloud(_with(world, "pause")) as cloud:
        cloud.kill_agent("h1")
        request_id = await _ask(cloud, "pause")
        listed = (await cloud.request("GET", "/v2.1/os-services?host=h1&binary=nova-compute")).json()["services"]
        answer = await cloud.request("PUT", f"/v2.1/os-services/{listed[0]['id']}", json={"forced_down": True})
        assert answer.status_code == 200
        assert "h1 is unavailable" in await _refused(cloud, "pause", request_id, "ACTIVE")


async def test_a_reset_of_the_state_gives_the_action_up(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The server is free at once, and a stop that was under way takes nobody's power any more."""
    async with make_cloud(_with(world, "os-stop", shutdown_seconds=None)) as cloud:
        request_id = await _ask(cloud, "os-stop")
        await cloud.clock.sleep(10.0)
        await _ask(cloud, "os-resetState", value={"state": "active"})
        assert "given up" in await _refused(cloud, "os-stop", request_id, "ACTIVE")
        await cloud.clock.sleep(120.0)
        assert "given up" in await _refused(cloud, "os-stop", request_id, "ACTIVE")
        await _expect(cloud, "pause", await _ask(cloud, "pause"))
