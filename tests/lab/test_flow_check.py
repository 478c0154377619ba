# SPDX-License-Identifier: Apache-2.0
"""os-checkMigrateLive on real guests: what it says is what happens, and it leaves nothing on any hypervisor or storage."""

from __future__ import annotations

import typing

import pytest

from tests.lab import flow, test_flow_refused

pytestmark = pytest.mark.lab


def _check(wherry: flow.Flow, uuid: str, **keys: typing.Any) -> dict[str, typing.Any]:
    body = {"os-checkMigrateLive": {"host": None, "block_migration": "auto", **keys}}
    answer = wherry.request("POST", f"/servers/{uuid}/action", version=flow.OWN, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["live_migration_check"])


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
