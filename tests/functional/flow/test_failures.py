# SPDX-License-Identifier: Apache-2.0
"""A call of a hypervisor fails at each step of a live migration, in each way that calls fail, at either host."""

from __future__ import annotations

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.drivers.simulated import CallFault, FaultKind, When
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=20_000)

Status = asking.Status

_ERROR = CallFault(kind=FaultKind.RAISE, slug="hypervisor_failure")
_UNAVAILABLE = CallFault(kind=FaultKind.RAISE, slug="hypervisor_unavailable")
_HANG = CallFault(kind=FaultKind.HANG)
_CRASH = CallFault(kind=FaultKind.CRASH, seconds=4.0)
_WAYS = {"error": _ERROR, "unavailable": _UNAVAILABLE, "hang": _HANG, "crash": _CRASH}

#: Host and method of each call on the road, and what may become of the migration when its first call goes wrong.
_CALLS: dict[tuple[str, str], frozenset[Status]] = {
    ("h1", "describe_guests"): frozenset({Status.ERROR, Status.COMPLETED}),
    ("h2", "check_destination"): frozenset({Status.ERROR, Status.COMPLETED}),
    ("h1", "check_source"): frozenset({Status.ERROR, Status.COMPLETED}),
    ("h2", "release_check"): frozenset({Status.COMPLETED, Status.ERROR}),
    ("h2", "prepare_destination"): frozenset({Status.FAILED, Status.COMPLETED}),
    ("h1", "start_transfer"): frozenset({Status.FAILED, Status.COMPLETED}),
    ("h1", "read_transfer"): frozenset({Status.COMPLETED, Status.FAILED}),
    ("h1", "observe_guest"): frozenset({Status.COMPLETED, Status.FAILED}),
    ("h2", "observe_guest"): frozenset({Status.COMPLETED}),
    ("h2", "finish_destination"): frozenset({Status.COMPLETED}),
    ("h1", "clean_up_source"): frozenset({Status.COMPLETED}),
}


def _fault(kind: str, host: str, method: str, when: When, *, nth: int = 1) -> CallFault:
    like = _WAYS[kind]
    return CallFault(kind=like.kind, slug=like.slug, seconds=like.seconds, host=host, method=method, when=when, nth=nth)


def _with_own_disk(world: simulated.World) -> simulated.World:
    world.add_guest("h1", "g2", memory_mib=1024, disks=(conftest.disk("/shared/g2.raw"), conftest.disk("/own/g2.raw", name="vdb")))
    return world


@pytest.mark.parametrize("when", list(When), ids=[when.value for when in When])
@pytest.mark.parametrize("kind", ["error", pytest.param("unavailable", marks=pytest.mark.slow), "hang", "crash"])
@pytest.mark.parametrize("call", _CALLS, ids=[f"{host}-{method}" for host, method in _CALLS])
async def test_one_call_fails(make_cloud: clouds.MakeCloud, world: simulated.World, call: tuple[str, str], kind: str, when: When) -> None:
    """It ends within minutes as one of its calls allows; the guest, the record and the files agree."""
    host, method = call
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(world)
        fault = _fault(kind, host, method, when)
        world.faults.add(fault)
        record = await asking.move(cloud, "g2", host="h2")
        assert fault.seen
        assert record.status in _CALLS[call]
        await invariants.come_to_hold(cloud, before, seconds=600)


_FOR_EVER = {
    ("h1", "describe_guests"): Status.ERROR,
    ("h2", "check_destination"): Status.ERROR,
    ("h1", "check_source"): Status.ERROR,
    ("h2", "prepare_destination"): Status.FAILED,
    ("h2", "finish_destination"): Status.COMPLETED,
    ("h1", "clean_up_source"): Status.COMPLETED,
    ("h2", "roll_back_destination"): Status.FAILED,
}


@pytest.mark.parametrize("kind", ["error", "unavailable"])
@pytest.mark.parametrize("call", _FOR_EVER, ids=[f"{host}-{method}" for host, method in _FOR_EVER])
async def test_a_call_fails_each_time(make_cloud: clouds.MakeCloud, world: simulated.World, call: tuple[str, str], kind: str) -> None:
    """A step is not tried for ever: the migration ends, and what is still owed to the host is paid when it can be."""
    host, method = call
    async with make_cloud(_with_own_disk(world)) as cloud:
        before = invariants.snapshot(world)
        mend = world.faults.add(_fault(kind, host, method, When.BEFORE, nth=0))
        if method == "roll_back_destination":
            world.faults.add(CallFault(kind=FaultKind.RAISE, method="start_transfer", slug="transfer_refused"))
        record = await asking.move(cloud, "g2", host="h2")
        assert record.status is _FOR_EVER[call]
        await invariants.hold(cloud, before, is_owing=True)
        mend()
        await invariants.come_to_hold(cloud, before, seconds=120)


@pytest.mark.parametrize("method", ["abort_transfer", "resume_guest", "observe_guest"])
@pytest.mark.parametrize("kind", _WAYS)
async def test_a_call_fails_in_an_abort(make_cloud: clouds.MakeCloud, world: simulated.World, method: str, kind: str) -> None:
    """An abort whose calls go wrong once is cancelled or, when the daemon died of it, failed; the guest runs on at the source."""
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=3000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2")).status_code == 202
        await asking.until_status(cloud, "busy", Status.RUNNING)
        await cloud.clock.sleep(2.0)
        world.faults.add(_fault(kind, "h1", method, When.BEFORE))
        assert (await asking.abort(cloud, "busy")).status_code == 202
        record = await asking.until_ended(cloud, "busy")
        assert record.status in (Status.CANCELLED, Status.FAILED)
        await invariants.come_to_hold(cloud, before, seconds=600)
