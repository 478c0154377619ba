# SPDX-License-Identifier: Apache-2.0
"""Limits, zones, aggregates and diagnostics over HTTP: what clients look up beside servers."""

from __future__ import annotations

import pytest

from tests.functional.api import conftest
from wherry.db import uow as wherry_uow
from wherry.model import guest
from wherry.model import server as server_model


async def _three_sizes(cloud: conftest.Cloud) -> None:
    await cloud.add_server(1, memory_mib=512, vcpus=1)
    await cloud.add_server(2, memory_mib=512, vcpus=1)
    await cloud.add_server(3, memory_mib=2048, vcpus=4, root_gib=20)
    await cloud.add_server(4, memory_mib=1024, vcpus=2, project_id="p2")


async def test_limits_are_none_and_say_what_is_used(cloud: conftest.Cloud) -> None:
    await _three_sizes(cloud)
    absolute = (await cloud.get("/v2.1/limits", token=conftest.READER)).json()["limits"]["absolute"]
    assert (absolute["totalInstancesUsed"], absolute["totalCoresUsed"], absolute["totalRAMUsed"]) == (3, 6, 3072)
    assert absolute["maxTotalInstances"] == -1
    other = (await cloud.get("/v2.1/limits?tenant_id=p2")).json()["limits"]["absolute"]
    assert (other["totalInstancesUsed"], other["totalRAMUsed"]) == (1, 1024)
    nothing = (await cloud.get("/v2.1/limits?tenant_id=p7")).json()["limits"]["absolute"]
    assert (nothing["totalInstancesUsed"], nothing["totalRAMUsed"]) == (0, 0)
    assert (await cloud.get("/v2.1/limits?tenant_id=p2", token=conftest.MANAGER)).status_code == 403


@pytest.mark.parametrize(
    ("version", "gone", "kept"),
    [
        ("2.35", set(), {"maxSecurityGroups", "maxImageMeta", "maxPersonality"}),
        ("2.36", {"maxSecurityGroups"}, {"maxImageMeta", "maxPersonality"}),
        ("2.39", {"maxSecurityGroups", "maxImageMeta"}, {"maxPersonality"}),
        ("2.57", {"maxSecurityGroups", "maxImageMeta", "maxPersonality"}, {"maxServerGroups"}),
    ],
)
async def test_limits_by_version(cloud: conftest.Cloud, version: str, gone: set[str], kept: set[str]) -> None:
    absolute = set((await cloud.get("/v2.1/limits", version)).json()["limits"]["absolute"])
    assert absolute & gone == set()
    assert kept <= absolute


async def test_zones_are_those_of_the_hosts(cloud: conftest.Cloud) -> None:
    zones = (await cloud.get("/v2.1/os-availability-zone", token=conftest.READER)).json()["availabilityZoneInfo"]
    assert zones == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
    (zone,) = (await cloud.get("/v2.1/os-availability-zone/detail")).json()["availabilityZoneInfo"]
    assert set(zone["hosts"]) == {"h1", "h2", "h3"}
    assert set(zone["hosts"]["h1"]["nova-compute"]) == {"available", "active", "updated_at"}
    assert (await cloud.get("/v2.1/os-availability-zone/detail", token=conftest.MANAGER)).status_code == 403


async def test_a_zone_without_an_enabled_host_is_not_available(cloud: conftest.Cloud) -> None:
    async def unit(uow: wherry_uow.UnitOfWork) -> None:
        for name in ("h1", "h2", "h3"):
            await uow.hosts.update_service(name, is_disabled=True)

    await cloud.store.run(unit)
    (zone,) = (await cloud.get("/v2.1/os-availability-zone")).json()["availabilityZoneInfo"]
    assert zone["zoneState"] == {"available": False}


async def test_there_are_no_aggregates(cloud: conftest.Cloud) -> None:
    assert (await cloud.get("/v2.1/os-aggregates", "2.81")).json() == {"aggregates": []}
    assert (await cloud.get("/v2.1/os-aggregates/1")).status_code == 404
    assert (await cloud.get("/v2.1/os-aggregates", token=conftest.MANAGER)).status_code == 403


async def test_diagnostics_say_what_the_record_says(cloud: conftest.Cloud) -> None:
    disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source="/images/a")
    server = await cloud.add_server(1, memory_mib=512, vcpus=2, disks=(disk,))
    path = f"/v2.1/servers/{server.uuid}/diagnostics"
    shown = (await cloud.get(path, "2.48")).json()
    assert (shown["state"], shown["num_cpus"], shown["num_disks"], shown["memory_details"]["maximum"]) == ("running", 2, 1, 512)
    assert (shown["driver"], shown["hypervisor"]) == ("simulated", "qemu")
    assert (await cloud.get(path, "2.47")).json() == {"memory": 524288, "vcpus": 2}
    assert (await cloud.get(path, token=conftest.MANAGER)).status_code == 403
    await cloud.update(server.uuid, power_state=server_model.PowerState.SHUTDOWN)
    refused = await cloud.get(path)
    assert refused.status_code == 409
    assert "in power_state shutdown" in refused.json()["conflictingRequest"]["message"]
