# SPDX-License-Identifier: Apache-2.0
"""Everything of ours killed at each stage of a migration, and libvirt's replies lost: nothing is aborted, and the record comes true."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import flow
from tests.lab.test_flow_faults import Watch
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

#: Seconds that a migration of a scene may take before it is forced to complete.
BUDGET = 300
#: How often to try to stop libvirtd in the milliseconds between the guest's arrival and the question that ends its migration.
_FINISHING_TRIES = 5
_pause = threading.Event()


@dataclasses.dataclass(frozen=True)
class Scene:
    """A migration that is to be brought to a stage, and what holds it there."""

    wherry: flow.Flow
    guest: labs.Guest
    blocker: labs.Guest

    def ask(self, guest: labs.Guest | None = None, host: labs.Host | None = None) -> flow.Move:
        """Ask for a migration with a budget of its own."""
        return self.wherry.live_migrate(guest or self.guest, host, version=flow.OWN, timeout_seconds=BUDGET, on_timeout="force_complete")

    def behind(self) -> tuple[flow.Move, flow.Move]:
        """Ask for one that waits for the only slot; give it and who has the slot."""
        before = self.ask(self.blocker, self.wherry.h3)
        before.until_copying(self.wherry.h1)
        move = self.ask()
        move.until_status("queued")
        return move, before


Stage = Callable[[Scene], tuple[flow.Move, Callable[[], object]]]


def queued(scene: Scene) -> tuple[flow.Move, Callable[[], object]]:
    """It waits for the only slot; who has that is not aborted either, until we ask."""
    move, before = scene.behind()

    def go_on() -> None:
        assert (before.record["status"], move.record["status"]) == ("running", "queued")
        assert flow.job(scene.wherry.h1, scene.blocker), "nothing was aborted"
        before.abort()

    return move, go_on


def preparing(scene: Scene) -> tuple[flow.Move, Callable[[], object]]:
    """It has its slot, and the destination's libvirtd hangs."""
    move, before = scene.behind()
    scene.wherry.h2.stop_libvirtd()
    before.abort()
    move.until_status("preparing")
    return move, lambda: None


def copying(scene: Scene) -> tuple[flow.Move, Callable[[], object]]:
    """Memory is on its way, and would be for ever."""
    move = scene.ask()
    move.until_copying(scene.wherry.h1)
    return move, lambda: flow.job(scene.wherry.h1, scene.guest) and move.until_status("running")


def post_copy(scene: Scene) -> tuple[flow.Move, Callable[[], object]]:
    """The guest runs at the destination, and a part of its memory does not."""
    move = scene.ask()
    move.until_copying(scene.wherry.h1)
    path = f"/servers/{scene.guest.uuid}/migrations/{move.id}/action"
    assert scene.wherry.request("POST", path, version=flow.OWN, json={"force_complete": None}).status_code == 202
    move.until_status("running (post-copy)")
    return move, lambda: None


def finishing(scene: Scene) -> tuple[flow.Move, Callable[[], object]]:
    """It has arrived, the source has just let it go, and the destination's libvirtd hangs before it is asked."""
    h1, h2 = scene.wherry.h1, scene.wherry.h2
    for _ in range(_FINISHING_TRIES):
        move = scene.ask()
        move.until_copying(h1)
        h1.restore_migration_link()
        flow.until(lambda: h1.domain_state(scene.guest.name) == "absent", "the guest to be gone", interval=0.001)
        h2.stop_libvirtd()
        if move.record["status"] == STATUSES[finishing]:
            return move, lambda: None
        # It was asked within those milliseconds: back, and once more.
        h2.heal()
        move.until_ended()
        assert scene.ask(host=h1).until_ended()["status"] == "completed"
        h1.migration_link.shape(mib_per_s=8)
    raise AssertionError(f"{_FINISHING_TRIES} times the destination was asked before its libvirtd hung")


#: What the record shows at each stage.
STATUSES: dict[Stage, str] = {
    queued: "queued",
    preparing: "preparing",
    copying: "running",
    post_copy: "running (post-copy)",
    finishing: "running",
}


@pytest.mark.parametrize("stage", STATUSES, ids=lambda stage: stage.__name__)
def test_all_of_it_killed_at_a_stage(start_wherry: flow.StartWherry, stage: Stage) -> None:
    """Started again it goes on from where it was; the budget that came with the request is the same, to its deadline's moment."""
    options: dict[str, dict[str, Any]] = {
        "DEFAULT": {"max_concurrent_live_migrations": 1},
        "libvirt": {"live_migration_permit_post_copy": True, "live_migration_postcopy_bandwidth": 4},
    }
    wherry = start_wherry(is_separate=True, **options)
    pace = {"payload": "counter", "memory_mib": 64, "range_mib": 24, "rate_mib_per_s": 30}
    scene = Scene(wherry, wherry.guest("moved", **pace), wherry.guest("blocker", **pace))
    flow.until(lambda: scene.guest.beacon().passes >= 1, "its range to be written once")
    wherry.h1.migration_link.shape(mib_per_s=8)
    move, go_on = stage(scene)
    before = move.record
    assert before["status"] == STATUSES[stage]
    process = wherry.process
    assert isinstance(process, flow.Separate)
    process.kill()
    wherry.h2.heal()
    wherry.start()
    go_on()
    wherry.h1.restore_migration_link()
    record = move.until_ended(seconds=60)
    assert (record["status"], record["reason"]) == ("completed", None), record
    kept = ("timeout_seconds", "timeout_seconds_origin", "on_timeout", "on_timeout_origin")
    assert [record[name] for name in kept] == [BUDGET, "request", "force_complete", "request"]
    if before["deadline_at"] is not None:
        assert record["deadline_at"] == before["deadline_at"]
    assert scene.guest.where(active_only=False) == ["h2"]
    passes = scene.guest.beacon().passes
    flow.until(lambda: scene.guest.beacon().passes >= passes + 2, "whole passes at the destination")
    scene.guest.check_memory()
    scene.guest.check_memory_dump()


@pytest.mark.parametrize(
    "disk",
    [
        {"disk": "shared", "disk_mib": 8},
        {"disk": "shared", "disk_mib": 8, "disk_shareable": True},
        {"disk": "private", "disk_mib": 8},
    ],
    ids=["locked", "shareable", "copied"],
)
def test_a_lost_closing_reply_leaves_one_guest_whatever_its_disk(start_wherry: flow.StartWherry, disk: dict[str, Any]) -> None:
    """The destination's libvirtd is silenced in the switch-over: both sides run for a second at most, and then the destination only."""
    wherry = start_wherry()
    guest = wherry.guest(payload="counter", memory_mib=64, range_mib=4, rate_mib_per_s=6, **disk)
    wherry.h1.migration_link.shape(mib_per_s=12)
    move = wherry.live_migrate(guest)
    flow.until(lambda: wherry.h1.domain_state(guest.name).startswith("paused"), "the switch-over", interval=0.001)
    wherry.h2.silence_libvirtd(wherry.h1)
    watch = Watch(wherry, guest)
    record = move.until_ended(seconds=60)
    both = watch.stop()
    assert both <= 1.0, f"both ran for {both:.2f} s"
    assert record["status"] == "completed", record
    assert guest.where(active_only=False) == ["h2"]
    assert guest.state().startswith("running")
    passes = guest.beacon().passes
    flow.until(lambda: guest.beacon().passes >= passes + 2, "whole passes at the destination")
    guest.check_memory()
