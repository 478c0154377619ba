# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a server, in the form of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from wherry.api import call as api_call
from wherry.model import host as host_model
from wherry.model import server as server_model

_DISK_COUNTERS = ("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosed:
    """What the handler gives."""

    server: server_model.Server
    host: host_model.Host


def show(shown: Diagnosed, call: api_call.Call) -> dict[str, Any]:
    """Give them: from 2.48 on in one form for all drivers, before as loose pairs."""
    server = shown.server
    if call.version < (2, 48):
        # In KiB, as libvirt counts.
        return {"memory": server.memory_mib * 1024, "vcpus": server.vcpus}
    description = shown.host.description
    return {
        "state": "running",
        "driver": description.driver,
        "hypervisor": description.hypervisor_type.lower(),
        "hypervisor_os": "linux",
        "uptime": None,
        "config_drive": False,
        "num_cpus": server.vcpus,
        # Interfaces are not in the record.
        "num_nics": 0,
        "num_disks": len(server.disks),
        "cpu_details": [{"id": number, "time": None, "utilisation": None} for number in range(server.vcpus)],
        "nic_details": [],
        "disk_details": [dict.fromkeys(_DISK_COUNTERS) for _ in server.disks],
        "memory_details": {"maximum": server.memory_mib, "used": None},
    }
