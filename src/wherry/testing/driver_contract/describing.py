# SPDX-License-Identifier: Apache-2.0
"""Contract: what a driver says of its host and its guests, and the hints that it gives."""

from __future__ import annotations

import uuid

import pytest

from wherry import errors
from wherry.drivers import base
from wherry.model import guest
from wherry.testing.driver_contract.harness import GuestWish, Harness, Storage


class DescribingContract:
    """Describe, observe, subscribe."""

    async def test_a_host_is_described_the_same_twice_and_hosts_differ(self, harness: Harness) -> None:
        first = await harness.source_driver.describe_host()
        again = await harness.source_driver.describe_host()
        other = await harness.destination_driver.describe_host()
        assert first.hypervisor_uuid == again.hypervisor_uuid != other.hypervisor_uuid
        assert first.hypervisor_hostname == again.hypervisor_hostname != other.hypervisor_hostname
        assert first.capabilities == harness.capabilities, "the flags that the harness was told are the flags that the driver shows"
        assert first.hypervisor_type and first.hypervisor_version > 0
        assert first.vcpus > 0 and first.memory_mib > 0 and first.disk_gib >= first.free_disk_gib >= 0
        assert first.supported_types and first.driver
        if first.uptime_seconds is not None:
            assert again.uptime_seconds is not None and again.uptime_seconds >= first.uptime_seconds >= 0

    async def test_a_guest_is_measured_and_its_counters_never_fall(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(storage=Storage.PRIVATE))
        (found,) = await harness.source_driver.describe_guests([instance_uuid])
        first = await harness.source_driver.measure_guest(instance_uuid)
        again = await harness.source_driver.measure_guest(instance_uuid)
        assert len(first.vcpu_nanoseconds) == found.vcpus
        for before, after in zip(first.vcpu_nanoseconds, again.vcpu_nanoseconds, strict=True):
            assert before is None or (after is not None and after >= before >= 0)
        assert {one.name for one in first.disks} >= {disk.name for disk in found.disks if disk.device == "disk"}
        assert len(first.interfaces) == len(found.interfaces)
        assert first.memory_used_mib is None or 0 < first.memory_used_mib <= found.memory_mib
        with pytest.raises(errors.GuestNotFound):
            await harness.source_driver.measure_guest(str(uuid.uuid4()))

    async def test_guests_are_described_and_unknown_ones_left_out(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish(storage=Storage.PRIVATE))
        unknown = str(uuid.uuid4())
        everyone = await harness.source_driver.describe_guests()
        (found,) = await harness.source_driver.describe_guests([unknown, instance_uuid])
        assert found in everyone
        assert found.uuid == instance_uuid and found.name and found.definition
        assert found.state is guest.GuestState.RUNNING
        assert found.memory_mib > 0 and found.vcpus > 0 and found.hypervisor_type in (await _types(harness))
        assert found.is_persistent and not found.is_incoming and not found.active_job
        (disk,) = [disk for disk in found.disks if disk.device == "disk"]
        assert disk.kind is guest.DiskKind.FILE and disk.source in await harness.files(harness.source) and disk.capacity_bytes > 0
        assert await harness.source_driver.observe_guest(instance_uuid) == guest.Observation(state=guest.GuestState.RUNNING)
        assert (await harness.source_driver.observe_guest(unknown)).state is guest.GuestState.ABSENT
        assert await harness.destination_driver.describe_guests([instance_uuid]) == []

    async def test_a_driver_opens_and_closes_twice_without_harm(self, harness: Harness) -> None:
        driver = harness.new_driver(harness.source)
        await driver.open()
        await driver.open()
        assert (await driver.describe_host()).hypervisor_uuid == (await harness.source_driver.describe_host()).hypervisor_uuid
        await driver.close()
        await driver.close()
        assert (await harness.source_driver.describe_host()).hypervisor_uuid

    async def test_signals_reach_subscribers_until_they_leave(self, harness: Harness) -> None:
        instance_uuid = await harness.create_guest(GuestWish())
        staying: list[base.Signal] = []
        leaving: list[base.Signal] = []
        stop_staying = harness.source_driver.subscribe(staying.append)
        stop_leaving = harness.source_driver.subscribe(leaving.append)
        await harness.pause_guest(harness.source, instance_uuid)
        await harness.wait_for(lambda: _seen(leaving, instance_uuid), bool, "a signal that the guest was paused")
        assert (await harness.source_driver.observe_guest(instance_uuid)).state is guest.GuestState.PAUSED
        stop_leaving()
        stop_leaving()
        count = len(leaving)
        staying.clear()
        await harness.resume_guest(harness.source, instance_uuid)
        await harness.wait_for(lambda: _seen(staying, instance_uuid), bool, "a signal that the guest was resumed")
        assert len(leaving) == count
        stop_staying()


async def _types(harness: Harness) -> tuple[str, ...]:
    return (await harness.source_driver.describe_host()).supported_types


async def _seen(signals: list[base.Signal], instance_uuid: str) -> bool:
    return any(signal.kind is base.SignalKind.LIFECYCLE and signal.instance_uuid == instance_uuid for signal in signals)
