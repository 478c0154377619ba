# SPDX-License-Identifier: Apache-2.0
"""Hypervisors, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts, reasons
from wherry.model import host as model
from wherry.model import server as server_model


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownHypervisor:
    """What the show handler gives."""

    host: model.Host
    is_up: bool
    #: None: not asked for.
    servers: Sequence[server_model.Server] | None
    #: How long its machine has been up; None where nobody knows.
    uptime_seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HypervisorPage:
    """What the list handlers give."""

    hypervisors: Sequence[ShownHypervisor]
    limit: int


def index(page: HypervisorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the short list."""
    return _page(page, call, [_brief(one, call) for one in page.hypervisors])


def detail(page: HypervisorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the long list."""
    return _page(page, call, [_full(one, call) for one in page.hypervisors])


def show(shown: ShownHypervisor, call: api_call.Call) -> dict[str, Any]:
    """Give one hypervisor."""
    return {"hypervisor": _full(shown, call)}


def found(shown: Sequence[ShownHypervisor], call: api_call.Call) -> dict[str, Any]:
    """Give what a search found."""
    return {"hypervisors": [_brief(one, call) for one in shown]}


def uptime(shown: ShownHypervisor, call: api_call.Call) -> dict[str, Any]:
    """Give how long one hypervisor's machine has been up."""
    return {"hypervisor": _brief(shown, call) | {"uptime": uptime_text(shown.uptime_seconds or 0.0)}}


def uptime_text(seconds: float) -> str:
    """Write it as the command of that name does, of whose line Nova shows all: neither users nor load are known here."""
    days, rest = divmod(int(seconds) // 60, 24 * 60)
    hours, minutes = divmod(rest, 60)
    days_text = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    return f"up {days_text}{hours:2d}:{minutes:02d}" if hours else f"up {days_text}{minutes} min"


def statistics(hosts: Sequence[model.Host], _call: api_call.Call) -> dict[str, Any]:
    """Give the sums over all hypervisors."""
    rows = [_counters(host) for host in hosts]
    return {"hypervisor_statistics": {"count": len(rows)} | {name: sum(row[name] for row in rows) for name in _COUNTERS}}


def _page(page: HypervisorPage, call: api_call.Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"hypervisors": rows}
    if call.version >= (2, 33) and rows and call.query.one("hypervisor_hostname_pattern") is None:
        following = parts.next_link(call, rows, page.limit, str(rows[-1]["id"]))
        if following:
            content["hypervisors_links"] = following
    return content


def _brief(shown: ShownHypervisor, call: api_call.Call) -> dict[str, Any]:
    host = shown.host
    row: dict[str, Any] = {
        "id": host.uuid if call.version >= (2, 53) else host.id,
        "hypervisor_hostname": host.description.hypervisor_hostname,
        "state": "up" if shown.is_up else "down",
        "status": "disabled" if host.is_disabled else "enabled",
    }
    # From 2.75 on the key is there whenever it is asked for; before, only where there are servers.
    if shown.servers is not None and (shown.servers or call.version >= (2, 75)):
        row["servers"] = [{"uuid": server.uuid, "name": server.name} for server in shown.servers]
    return row


def _full(shown: ShownHypervisor, call: api_call.Call) -> dict[str, Any]:
    host, description = shown.host, shown.host.description
    row = _brief(shown, call)
    row |= {
        "hypervisor_type": description.hypervisor_type,
        "hypervisor_version": description.hypervisor_version,
        "host_ip": _ip(description.host_address),
        "service": {"id": row["id"], "host": host.name, "disabled_reason": host.disabled_reason},
    }
    if call.version >= reasons.FROM:
        # What its driver can do with the hypervisor that runs there now: a request that needs more is refused in the checks.
        row |= {
            "driver": description.driver,
            "driver_manager_version": description.manager_version,
            "capabilities": dataclasses.asdict(description.capabilities),
        }
    if call.version >= (2, 88):
        # Null is what Nova gives where nobody knows, too.
        row["uptime"] = None if shown.uptime_seconds is None else uptime_text(shown.uptime_seconds)
        return row
    row |= _counters(host)
    row["cpu_info"] = _cpu_info(description.cpu_info) if call.version >= (2, 28) else description.cpu_info
    return row


_COUNTERS = (
    *("vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used", "free_disk_gb"),
    *("disk_available_least", "running_vms", "current_workload"),
)


def _counters(host: model.Host) -> dict[str, int]:
    description, usage = host.description, host.usage
    values = (
        *(description.vcpus, usage.vcpus),
        *(description.memory_mib, usage.memory_mib, description.memory_mib - usage.memory_mib),
        *(description.disk_gib, description.disk_gib - description.free_disk_gib, description.free_disk_gib, description.free_disk_gib),
        *(usage.servers, usage.incoming_migrations + usage.outgoing_migrations),
    )
    return dict(zip(_COUNTERS, values, strict=True))


def _ip(text: str) -> str:
    """Give the address: clients want one in numbers, and the unspecified one means "not known"."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return str(ipaddress.IPv4Address(0))


def _cpu_info(text: str) -> Any:
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
