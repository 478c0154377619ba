# SPDX-License-Identifier: Apache-2.0
"""The agents and the conductor are killed at every step of a cold migration, a resize, their confirmation and their way back.

Each test tries every step of one of these and prints what came of each: it ends or is undone, no disk is lost, nothing is left.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import sys
from collections.abc import Callable

import pytest

from tests.functional.flow import asking, conftest, moving
from wherry.model import operation, states
from wherry.testing import cloud as clouds
from wherry.testing import invariants, virtual_time

pytestmark = pytest.mark.virtual_time(limit_seconds=72000)

Status = asking.Status
Step = operation.StepName

#: Steps that are stored on the way, by what is asked.
_WAY = (Step.CHECK_DESTINATION, Step.CHECK_SOURCE, Step.PREPARE, Step.SHUT_DOWN, Step.MOVE, Step.FINISH, Step.DONE)
_STEPS = {
    "migrate": _WAY,
    "resize": _WAY,
    "confirmResize": (Step.CONFIRM, Step.DONE),
    "revertResize": (Step.CHECK_RETURN, Step.SHUT_DOWN, Step.STOP_DESTINATION, Step.RESTORE, Step.DISCARD, Step.DONE),
}
#: Calls that agents make of their hypervisors, by what is asked: host and method.
_THERE = (
    ("h1", "describe_guests"),
    ("h2", "check_destination"),
    ("h1", "check_departure"),
    ("h2", "release_check"),
    ("h2", "prepare_arrival"),
    ("h1", "shut_down_guest"),
    ("h1", "retire_guest"),
    ("h1", "send_disks"),
    ("h2", "receive_guest"),
    ("h2", "start_guest"),
)
_CALLS = {
    "migrate": _THERE,
    "resize": _THERE,
    "confirmResize": (("h2", "describe_guests"), ("h1", "release_guest")),
    "revertResize": (
        ("h1", "describe_guests"),
        ("h2", "shut_down_guest"),
        ("h2", "power_off_guest"),
        ("h1", "restore_guest"),
        ("h1", "start_guest"),
        ("h2", "discard_guest"),
    ),
}
#: In the checks a host that is away is refused, and nothing was touched.
_CHECKING = frozenset({"describe_guests", "check_destination", "check_departure"})
_ENDS = {"migrate": Status.FINISHED, "resize": Status.FINISHED, "confirmResize": Status.CONFIRMED, "revertResize": Status.REVERTED}
#: Room for a resize is on h2 only, so that it goes there; the time that a guest has for its shutdown is shorter than some need.
_OPTIONS = {"conductor": {"shutdown_timeout_seconds": 5.0, "move_poll_interval_seconds": 0.5}}


@dataclasses.dataclass(frozen=True)
class _Case:
    """One strike."""

    asked: str
    #: What is struck, and when; for the table.
    told: str
    arm: Callable[[clouds.Cloud, _Victim], None]
    is_in_checks: bool = False


class _Victim:
    """Dies once, and comes back."""

    def __init__(self, cloud: clouds.Cloud, host: str = "") -> None:
        self.cloud = cloud
        self.host = host
        self.has_died = asyncio.Event()

    def kill(self, _conductor_id: str = "") -> None:
        if self.host:
            self.cloud.kill_agent(self.host)
        else:
            self.cloud.kill_conductor()
        self.has_died.set()

    async def come_back(self) -> None:
        """Wait for the end, then begin again after a while."""
        await self.has_died.wait()
        await self.cloud.clock.sleep(2.5)
        if self.host:
            await self.cloud.start_agent(self.host)
        else:
            await self.cloud.start_conductor()


def _at_step(asked: str, step: Step) -> _Case:
    return _Case(asked, f"conductor, {step.value} stored", lambda cloud, victim: asking.at_step(cloud, step, victim.kill))


def _at_call(asked: str, host: str, method: str, *, is_done: bool) -> _Case:
    def arm(cloud: clouds.Cloud, victim: _Victim) -> None:
        victim.host = host
        asking.at_call(cloud, host, method, victim.kill, is_done=is_done)

    when = "after" if is_done else "before"
    is_in_checks = method in _CHECKING and asked in ("migrate", "resize")
    return _Case(asked, f"agent of {host}, {when} {method}", arm, is_in_checks)


def _cases(asked: str, victim: str) -> list[_Case]:
    if victim == "conductor":
        return [_at_step(asked, step) for step in _STEPS[asked]]
    return [_at_call(asked, host, method, is_done=is_done) for host, method in _CALLS[asked] for is_done in (False, True)]


async def _strike(case: _Case, directory: pathlib.Path) -> states.Status:
    """Run one case; give the migration's status at the end."""
    world = moving.with_two_disks(conftest.three_hosts(), shutdown_seconds=None)
    # A resize finds room on h2 only.
    world.hosts["h3"].memory_mib = 600
    async with clouds.Cloud(world, directory, clock=virtual_time.virtual_clock(), overrides=_OPTIONS) as cloud:
        before = invariants.snapshot(cloud.world)
        bodies = {"migrate": {"host": "h2"}, "resize": {"flavorRef": "2"}}
        if case.asked not in bodies:
            await moving.moved(cloud, "g2")
        victim = _Victim(cloud)
        case.arm(cloud, victim)
        _, answer = await asyncio.gather(victim.come_back(), moving.act(cloud, "g2", case.asked, bodies.get(case.asked)))
        assert answer.status_code in (202, 204) or (case.is_in_checks and answer.status_code == 400), answer.text
        await invariants.come_to_hold(cloud, before)
        return (await asking.migration_of(cloud, "g2")).status


def _print(rows: list[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    width = max(len(told) for _, told, _ in rows)
    with capsys.disabled():
        sys.stdout.write("\n")
        for asked, told, status in rows:
            sys.stdout.write(f"{asked:14} {told:{width}}  {status}\n")


@pytest.mark.parametrize(
    ("asked", "victim"),
    [
        ("migrate", "conductor"),
        ("migrate", "agents"),
        ("confirmResize", "conductor"),
        ("confirmResize", "agents"),
        ("revertResize", "conductor"),
        # The way back calls the agents for what the way there calls them for.
        pytest.param("revertResize", "agents", marks=pytest.mark.slow),
        pytest.param("resize", "conductor", marks=pytest.mark.slow),
        pytest.param("resize", "agents", marks=pytest.mark.slow),
    ],
)
async def test_killed_at_every_step(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], asked: str, victim: str) -> None:
    rows = []
    for number, case in enumerate(_cases(asked, victim)):
        try:
            directory = tmp_path / str(number)
            directory.mkdir()
            status = await _strike(case, directory)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{case.asked}: {case.told}: {error}") from error
        allowed = {_ENDS[asked], Status.ERROR} if case.is_in_checks else {_ENDS[asked]}
        assert status in allowed, f"{case.told}: {status}"
        rows.append((asked, case.told, status.value))
    _print(rows, capsys)
