# SPDX-License-Identifier: Apache-2.0
"""Simulated hosts and guests in the words of the model. Changes nothing."""

from __future__ import annotations

import json

from wherry.drivers import base
from wherry.drivers.simulated import copying, fleet
from wherry.model import guest, host


def describe_host(here: fleet.Host, settings: base.HostSettings, uptime_seconds: float) -> host.HostDescription:
    """Describe a host as its driver reports it; all of them started with the world."""
    cpu = fleet.cpu_text(here.cpu_level)
    return host.HostDescription(
        hypervisor_uuid=here.hypervisor_uuid,
        hypervisor_hostname=here.name,
        hypervisor_type=here.profile.hypervisor_type,
        hypervisor_version=here.hypervisor_version,
        manager_version=here.manager_version,
        host_address=here.address,
        uptime_seconds=uptime_seconds,
        vcpus=here.vcpus,
        memory_mib=here.memory_mib,
        disk_gib=sum(store.capacity_bytes for store in here.stores.values()) // fleet.GIB,
        free_disk_gib=sum(store.free_bytes for store in here.stores.values()) // fleet.GIB,
        cpu=cpu,
        cpu_info=json.dumps(
            {
                "arch": "x86_64",
                "model": cpu,
                "vendor": "simulated",
                "topology": {"sockets": 1, "cores": here.vcpus, "threads": 1},
                "features": [],
            }
        ),
        supported_types=here.profile.supported_types,
        driver="simulated" if here.profile.name == "libvirt" else here.profile.name,
        capabilities=here.profile.capabilities,
        migration_address=settings.inbound_address or here.name,
    )


def describe_guest(here: fleet.Host, running: copying.Copying, local: fleet.Guest) -> guest.Guest:
    """Describe a guest as it is on this host."""
    spec = local.spec
    job = spec.active_job
    if not job and spec.uuid in running.active and running.job_at(here, spec.uuid) is not None:
        job = "migration"
    return guest.Guest(
        uuid=spec.uuid,
        name=spec.name,
        state=local.state,
        memory_mib=spec.memory_mib,
        vcpus=spec.vcpus,
        machine_type=spec.machine_type,
        hypervisor_type=spec.hypervisor_type,
        disks=spec.disks,
        interfaces=spec.interfaces,
        passthrough_devices=spec.passthrough_devices,
        memory_encryption=spec.memory_encryption,
        post_copy_obstacle=spec.post_copy_obstacle,
        snapshot_count=spec.snapshot_count,
        active_job=job,
        is_persistent=spec.is_persistent,
        is_incoming=local.is_incoming,
        cpu=fleet.cpu_text(spec.cpu_level),
        definition=f"simulated guest {spec.name}",
        project_id=spec.project_id,
    )


def measure_guest(local: fleet.Guest) -> guest.Usage:
    """Say what the model of a guest knows of what it uses: its memory. It computes nothing, reads and writes no disk, sends no packet."""
    spec = local.spec
    return guest.Usage(
        vcpu_nanoseconds=(None,) * spec.vcpus,
        disks=tuple(guest.DiskUsage(name=disk.name) for disk in spec.disks),
        interfaces=tuple(guest.InterfaceUsage(name=each.name, mac=each.mac) for each in spec.interfaces),
        memory_used_mib=spec.memory_mib,
    )
