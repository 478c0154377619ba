# SPDX-License-Identifier: Apache-2.0
"""Reboots, soft and hard, and suspended servers, from the request to the guest."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.flow import asking, making
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=7200)

_S = guest.GuestState


async def _act(cloud: clouds.Cloud, body: dict[str, Any], name: str = "g1") -> str:
    answer = await cloud.request("POST", asking.server_path(cloud, name, "/action"), json=body)
    assert (answer.status_code, answer.content) == (202, b""), answer.text
    return answer.headers["x-openstack-request-id"]


async def _done(cloud: clouds.Cloud, request_id: str, name: str = "g1") -> tuple[str, list[tuple[str, str, str | None]]]:
    """Wait for the end, and give the server's status and the action's events."""
    uuid = cloud.uuid(name)
    await making.until_free(cloud, uuid)
    return (await cloud.server(name))["status"], await making.events(cloud, uuid, request_id)


def _log_calls(cloud: clouds.Cloud, *methods: str) -> list[tuple[str, float]]:
    calls: list[tuple[str, float]] = []

    def note(host: str, method: str, is_done: bool) -> None:
        del host
        if is_done and method in methods:
            calls.append((method, cloud.clock.monotonic()))

    cloud.on_call.append(note)
    return calls


async def test_a_soft_reboot_lets_the_guest_shut_itself_down(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        calls = _log_calls(cloud, "shut_down_guest", "start_guest")
        request_id = await _act(cloud, {"reboot": {"type": "SOFT"}})
        assert (await cloud.server("g1"))["status"] == "REBOOT"
        assert await _done(cloud, request_id) == ("ACTIVE", [("compute_reboot_instance", "h1", "Success")])
        assert [method for method, _ in calls] == ["shut_down_guest", "start_guest"]
        assert calls[1][1] - calls[0][1] < 20
        action = await asking.action_of(cloud, "g1", request_id)
        assert action.action == "reboot"


async def test_a_guest_that_does_not_heed_it_is_rebooted_hard_after_its_time(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    world.add_guest("h1", "deaf", shutdown_seconds=None)
    async with make_cloud(world, conductor={"soft_reboot_timeout_seconds": 30}) as cloud:
        calls = _log_calls(cloud, "shut_down_guest", "power_off_guest")
        request_id = await _act(cloud, {"reboot": {"type": "soft"}}, "deaf")
        assert await _done(cloud, request_id, "deaf") == ("ACTIVE", [("compute_reboot_instance", "h1", "Success")])
        assert calls[-1][0] == "power_off_guest" and 30 <= calls[-1][1] - calls[0][1] < 40


@pytest.mark.parametrize("state", [_S.RUNNING, _S.PAUSED, _S.SHUT_OFF])
async def test_a_hard_reboot_asks_nobody(make_cloud: clouds.MakeCloud, world: simulated.World, state: guest.GuestState) -> None:
    world.add_guest("h1", "any", state=state)
    async with make_cloud(world) as cloud:
        calls = _log_calls(cloud, "shut_down_guest", "power_off_guest", "start_guest")
        request_id = await _act(cloud, {"reboot": {"type": "HARD"}}, "any")
        assert await _done(cloud, request_id, "any") == ("ACTIVE", [("compute_reboot_instance", "h1", "Success")])
        assert [method for method, _ in calls] == ["power_off_guest", "start_guest"]
        assert world.host("h1").guests[cloud.uuid("any")].state is _S.RUNNING


@pytest.mark.parametrize("body", [{"reboot": {"type": "WARM"}}, {"reboot": {}}, {"reboot": None}])
async def test_another_kind_of_reboot_is_refused(make_cloud: clouds.MakeCloud, world: simulated.World, body: dict[str, Any]) -> None:
    async with make_cloud(world) as cloud:
        assert (await cloud.request("POST", asking.server_path(cloud, "g1", "/action"), json=body)).status_code == 400


async def test_a_suspended_server_goes_on_and_nothing_else_is_done_to_it(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        request_id = await _act(cloud, {"suspend": None})
        assert await _done(cloud, request_id) == ("SUSPENDED", [("compute_suspend_instance", "h1", "Success")])
        # The inventory says that it is off, which it is.
        await cloud.clock.sleep(200)
        server = await cloud.server("g1")
        assert (server["status"], server["OS-EXT-STS:vm_state"], server["OS-EXT-STS:power_state"]) == ("SUSPENDED", "suspended", 4)
        path = asking.server_path(cloud, "g1", "/action")
        for body in ({"suspend": None}, {"os-start": None}, {"os-migrateLive": {"host": None, "block_migration": "auto"}}):
            assert (await cloud.request("POST", path, json=body)).status_code == 409, body
        request_id = await _act(cloud, {"resume": None})
        assert await _done(cloud, request_id) == ("ACTIVE", [("compute_resume_instance", "h1", "Success")])
        assert (await cloud.request("POST", path, json={"resume": None})).status_code == 409


async def test_a_hard_reboot_of_a_suspended_server_forgets_its_memory(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        await _done(cloud, await _act(cloud, {"suspend": None}))
        assert world.host("h1").guests[cloud.uuid("g1")].has_saved_memory
        status, _ = await _done(cloud, await _act(cloud, {"reboot": {"type": "HARD"}}))
        assert (status, world.host("h1").guests[cloud.uuid("g1")].has_saved_memory) == ("ACTIVE", False)


async def test_a_suspended_server_that_somebody_else_started_is_active(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    async with make_cloud(world) as cloud:
        await _done(cloud, await _act(cloud, {"suspend": None}))
        world.host("h1").guests[cloud.uuid("g1")].state = _S.RUNNING
        await cloud.clock.sleep(200)
        assert (await cloud.server("g1"))["status"] == "ACTIVE"
