# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a server, in the form of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from wherry.api import call as api_call
from wherry.model import guest
from wherry.model import host as host_model
from wherry.model import server as server_model


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosed:
    """What the handler gives."""

    server: server_model.Server
    host: host_model.Host
    #: What its host counts; None where that gave no answer.
    usage: guest.Usage | None
    #: Since it was launched; None where nobody knows.
    uptime_seconds: float | None


def show(shown: Diagnosed, call: api_call.Call) -> dict[str, Any]:
    """Give them: from 2.48 on in one form for all drivers, before as loose pairs."""
    # Without an answer: what the record knows there to be, with nothing counted.
    usage = shown.usage or guest.Usage(
        vcpu_nanoseconds=(None,) * shown.server.vcpus, disks=tuple(guest.DiskUsage(name=disk.name) for disk in shown.server.disks)
    )
    return _as_pairs(shown.server, usage) if call.version < (2, 48) else _in_one_form(shown, usage)


def _in_one_form(shown: Diagnosed, usage: guest.Usage) -> dict[str, Any]:
    server, description = shown.server, shown.host.description
    return {
        "state": "running",
        "driver": description.driver,
        "hypervisor": description.hypervisor_type.lower(),
        "hypervisor_os": "linux",
        "uptime": None if shown.uptime_seconds is None else int(shown.uptime_seconds),
        "config_drive": False,
        "num_cpus": server.vcpus,
        "num_nics": len(usage.interfaces),
        "num_disks": len(usage.disks),
        "cpu_details": [{"id": number, "time": time, "utilisation": None} for number, time in enumerate(usage.vcpu_nanoseconds)],
        "nic_details": [_interface(interface) for interface in usage.interfaces],
        "disk_details": [_disk(disk) for disk in usage.disks],
        "memory_details": {"maximum": server.memory_mib, "used": usage.memory_used_mib},
    }


def _disk(disk: guest.DiskUsage) -> dict[str, int | None]:
    return {
        "read_bytes": disk.read_bytes,
        "read_requests": disk.read_requests,
        "write_bytes": disk.write_bytes,
        "write_requests": disk.write_requests,
        # QEMU counts none.
        "errors_count": None,
    }


def _interface(interface: guest.InterfaceUsage) -> dict[str, Any]:
    row: dict[str, Any] = {"mac_address": interface.mac or None}
    for prefix, traffic in (("rx", interface.received), ("tx", interface.sent)):
        row |= {
            f"{prefix}_octets": traffic.bytes,
            f"{prefix}_packets": traffic.packets,
            f"{prefix}_errors": traffic.errors,
            f"{prefix}_drop": traffic.drops,
            # Nobody counts rates.
            f"{prefix}_rate": None,
        }
    return row


def _as_pairs(server: server_model.Server, usage: guest.Usage) -> dict[str, int]:
    """Give what Nova gives of libvirt's guests; what is not counted is left out."""
    # In KiB, as libvirt counts.
    pairs: dict[str, int | None] = {"memory": server.memory_mib * 1024, "vcpus": server.vcpus}
    pairs |= {f"cpu{number}_time": time for number, time in enumerate(usage.vcpu_nanoseconds)}
    for disk in usage.disks:
        pairs |= {
            f"{disk.name}_read": disk.read_bytes,
            f"{disk.name}_read_req": disk.read_requests,
            f"{disk.name}_write": disk.write_bytes,
            f"{disk.name}_write_req": disk.write_requests,
        }
    for interface in usage.interfaces:
        for prefix, traffic in (("rx", interface.received), ("tx", interface.sent)):
            pairs |= {
                f"{interface.name}_{prefix}": traffic.bytes,
                f"{interface.name}_{prefix}_packets": traffic.packets,
                f"{interface.name}_{prefix}_errors": traffic.errors,
                f"{interface.name}_{prefix}_drop": traffic.drops,
            }
    return {name: value for name, value in pairs.items() if value is not None}
