# SPDX-License-Identifier: Apache-2.0
"""Diagnostics come from the guest's host, by way of a conductor; where that is silent, the record alone is told."""

from __future__ import annotations

import pytest

from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time


async def test_a_guests_host_is_asked_and_a_silent_one_leaves_the_record(world: simulated.World, make_cloud: clouds.MakeCloud) -> None:
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/own/measured")
    world.add_guest(
        "h1", "measured", memory_mib=256, vcpus=2, disks=(disk,), interfaces=(guest.Interface(kind="bridge", mac="52:54:00:0a"),)
    )
    async with make_cloud(world) as cloud:
        path = f"/v2.1/servers/{cloud.uuid('measured')}/diagnostics"
        told = (await cloud.request("GET", path, version="2.48")).json()
        assert told["memory_details"] == {"maximum": 256, "used": 256}
        assert [one["mac_address"] for one in told["nic_details"]] == ["52:54:00:0a"]
        assert (told["num_cpus"], told["num_nics"], told["num_disks"], len(told["cpu_details"])) == (2, 1, 1, 2)
        assert (await cloud.request("GET", path, version="2.47")).json() == {"memory": 256 * 1024, "vcpus": 2}
        cloud.kill_agent("h1")
        alone = await cloud.request("GET", path, version="2.48")
        assert alone.status_code == 200
        assert alone.json()["memory_details"] == {"maximum": 256, "used": None}
        assert (alone.json()["num_nics"], alone.json()["num_disks"]) == (0, 1)
