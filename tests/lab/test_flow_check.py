# SPDX-License-Identifier: Apache-2.0
"""os-checkMigrateLive on real guests: what it says is what happens, and it leaves nothing on any hypervisor or storage."""

from __future__ import annotations

import typing

import pytest

from tests.lab import flow, test_flow_refused
from wherry.model import states

pytestmark = pytest.mark.lab


def _check(wherry: flow.Flow, uuid: str, **keys: typing.Any) -> dict[str, typing.Any]:
    body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto", **keys}}
    answer = wherry.request("POST", f"/servers/{uuid}/action", version=flow.OWN, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["live_migration_check"])


@pytest.mark.slow
def test_it_says_which_hosts_would_take_the_guest_and_leaves_nothing(wherry: flow.Flow) -> None:
    """Probe volumes are made and taken away again; a domain of the same name blocks one host, the other is allowed and takes it."""
    guest = wherry.guest(memory_mib=64, disk="shared", disk_mib=4)
    description = f"<domain type='qemu'><name>{guest.name}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>"
    wherry.h3.virsh("define", "/dev/stdin", stdin=description)
    try:
        before, server = test_flow_refused.snapshot(wherry), wherry.server(guest)
        found = _check(wherry, guest.uuid, timeout_seconds=60, on_timeout="force_complete")
        assert test_flow_refused.snapshot(wherry) == before
        now = wherry.server(guest)
        assert server is not None
        assert now is not None
        assert (now["status"], now["OS-EXT-STS:task_state"]) == (server["status"], None)
        assert wherry.get(f"/servers/{guest.uuid}/os-instance-actions")["instanceActions"] == []
        hosts = {one["host"]: one for one in found["hosts"]}
        assert set(hosts) == {"h2", "h3"}
        assert [blocker["slug"] for blocker in hosts["h3"]["blockers"]] == ["domain_present"]
        assert (hosts["h2"]["allowed"], hosts["h2"]["timeout_actions"]) == (True, ["abort", "force_complete"])
        assert hosts["h2"]["estimate"]["pause_ms_low"] == 0
        record = wherry.live_migrate(guest, wherry.h2).until_ended()
        assert (record["status"], record["percentage"]) == ("completed", 100)
    finally:
        wherry.h3.virsh("undefine", guest.name)


@pytest.mark.slow
def test_a_deadline_is_told_with_its_numbers_and_the_percentage_never_falls(start_wherry: flow.StartWherry) -> None:
    """QEMU's own counters of a guest that dirties faster than its link: the story says what was done when, and how far it had come."""
    wherry = start_wherry(libvirt={"live_migration_bandwidth": 6, "live_migration_monitor_interval": 1})
    guest = wherry.guest(payload="counter", memory_mib=64, range_mib=24, rate_mib_per_s=30)
    move = wherry.live_migrate(guest, wherry.h2, version=flow.OWN, timeout_seconds=9, on_timeout="abort")
    looks: list[dict[str, typing.Any]] = []

    def has_ended() -> bool:
        looks.append(move.record)
        return looks[-1]["status"] in states.TERMINAL

    flow.until(lambda: has_ended() or None, "the deadline", seconds=30)
    last = move.until_ended()
    assert (last["status"], last["reason"]) == ("cancelled", "deadline")
    percentages = [one["percentage"] for one in looks if one["percentage"] is not None]
    assert percentages == sorted(percentages)
    assert 0 < last["percentage"] < 100
    assert last["iteration"] > 1
    assert 1 << 20 < last["bytes_per_second"] < 12 << 20
    assert last["dirty_bytes_per_second"] > 0
    assert (last["seconds_left_low"], last["seconds_left_high"]) == (None, None)
    told = move.event("deadline_applied")
    assert (told["host"], told["result"]) == ("h1", "Success")
    assert "deadline: abort after 9." in told["details"]
    assert "of 9 s (request)" in told["details"]
