# SPDX-License-Identifier: Apache-2.0
"""Servers, in the fields of each microversion. What has no meaning here has the neutral value that clients accept.

Pure. What a version and a caller see is found once a request, not once a server: a page holds a thousand of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import flavors, parts
from wherry.model import flavor as flavor_model
from wherry.model import host as host_model
from wherry.model import server as model
from wherry.policies import flavor_extra_specs as flavor_policies
from wherry.policies import servers as policies

_V = model.VmState

#: Status on the wire while nothing is being done to the server.
_STATUS: Mapping[model.VmState, str] = {
    _V.ACTIVE: "ACTIVE",
    _V.PAUSED: "PAUSED",
    _V.STOPPED: "SHUTOFF",
    _V.SUSPENDED: "SUSPENDED",
    _V.BUILDING: "BUILD",
    _V.RESIZED: "VERIFY_RESIZE",
    _V.ERROR: "ERROR",
    _V.DELETED: "DELETED",
}
MIGRATING = "MIGRATING"
_T = model.TaskState
_RESIZING = frozenset({_T.RESIZE_PREP, _T.RESIZE_MIGRATING, _T.RESIZE_MIGRATED, _T.RESIZE_FINISH})
#: First version that shows a server's groups.
GROUPS_FROM = (2, 71)
_MIGRATABLE = (_V.ACTIVE, _V.PAUSED)
_WITH_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", MIGRATING})
_WITH_FAULT = frozenset({"ERROR", "DELETED"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerPage:
    """What the list handlers give."""

    servers: Sequence[model.Server]
    #: By name, for host_status and zones; empty where nobody will see them.
    hosts: Mapping[str, host_model.Host]
    #: Names of hosts whose agents were heard of lately.
    up: frozenset[str]
    limit: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownServer:
    """What the show handler gives."""

    server: model.Server
    host: host_model.Host | None
    is_host_up: bool
    #: uuid of the server group that it is in; None for none, or where it is not shown.
    group: str | None


_REBOOTING = {_T.REBOOTING: "REBOOT", _T.REBOOTING_HARD: "HARD_REBOOT"}
#: How the fields begin that the answer to a change has from 2.75 on only.
_NOT_IN_CHANGED = ("OS-EXT-", "OS-SRV-USG:", "config_drive", "key_name", "security_groups", "os-extended-volumes:", "host_status")


def status_of(vm_state: model.VmState, task_state: model.TaskState | None) -> str:
    """Give the status on the wire."""
    if task_state is model.TaskState.MIGRATING and vm_state in _MIGRATABLE:
        return MIGRATING
    if vm_state is _V.ACTIVE and task_state in _REBOOTING:
        return _REBOOTING[task_state]
    if task_state in _RESIZING and vm_state in (_V.ACTIVE, _V.STOPPED):
        return "RESIZE"
    if task_state is _T.RESIZE_REVERTING and vm_state is _V.RESIZED:
        return "REVERT_RESIZE"
    # A state that only a newer release knows has no word of its own here.
    return _STATUS.get(vm_state, "UNKNOWN")


def states_of(status: str) -> list[tuple[model.VmState, model.TaskState | None]]:
    """Give the pairs of states that a status stands for; none for a status that servers here never have."""
    return [
        (vm_state, task_state)
        for vm_state in model.VmState
        for task_state in (None, *model.TaskState)
        if status_of(vm_state, task_state) == status
    ]


#: Statuses that Nova knows; anything else in a filter is a mistake from 2.38 on.
KNOWN_STATUSES = frozenset(
    {"ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", MIGRATING, "PASSWORD", "PAUSED", "REBOOT", "REBUILD", "RESCUE", "RESIZE"}
    | {"REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED", "UNKNOWN", "VERIFY_RESIZE"}
)


def index(page: ServerPage, call: api_call.Call) -> dict[str, Any]:
    """Give the short list."""
    rows = [{"id": s.uuid, "name": s.name, "links": parts.links(call, f"/servers/{s.uuid}")} for s in page.servers]
    return _with_next(page, call, rows)


def detail(page: ServerPage, call: api_call.Call) -> dict[str, Any]:
    """Give the long list."""
    render = _Renderer(call)
    rows = []
    for server in page.servers:
        host = page.hosts.get(server.host) if server.host else None
        rows.append(render.row(server, host, is_host_up=server.host in page.up))
    return _with_next(page, call, rows)


def show(shown: ShownServer, call: api_call.Call) -> dict[str, Any]:
    """Give one server."""
    row = _Renderer(call).row(shown.server, shown.host, is_host_up=shown.is_host_up)
    if call.version >= GROUPS_FROM:
        row["server_groups"] = [shown.group] if shown.group else []
    return {"server": row}


def updated(shown: ShownServer, call: api_call.Call) -> dict[str, Any]:
    """Give one server after a change: up to 2.74 with less than show gives."""
    content = show(shown, call)
    if call.version < (2, 75):
        content["server"] = {name: value for name, value in content["server"].items() if not name.startswith(_NOT_IN_CHANGED)}
    return content


def _with_next(page: ServerPage, call: api_call.Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"servers": rows}
    following = parts.next_link(call, rows, page.limit, page.servers[-1].uuid if page.servers else "")
    if following:
        content["servers_links"] = following
    return content


def _host_status(host: host_model.Host | None, is_up: bool) -> str:
    if host is None:
        return ""
    if host.is_forced_down:
        return "DOWN"
    if host.is_disabled:
        return "MAINTENANCE"
    return "UP" if is_up else "UNKNOWN"


class _Renderer:
    """Writes servers for one caller at one version."""

    def __init__(self, call: api_call.Call) -> None:
        self._call = call
        self._version = call.version
        self._shows_extended = call.allows(policies.EXTENDED_ATTRIBUTES)
        self._shows_host_status = call.allows(policies.HOST_STATUS)
        self._shows_extra_specs = call.allows(flavor_policies.INDEX)
        # A page has few pairs of project and host, and few sizes of guests.
        self._host_id = functools.cache(parts.host_id)
        self._size = functools.cache(self._make_size)
        self._self_base = call.address.self_link("/servers/")
        self._bookmark_base = call.address.bookmark("/servers/")

    def row(self, server: model.Server, host: host_model.Host | None, *, is_host_up: bool) -> dict[str, Any]:
        status = status_of(server.vm_state, server.task_state)
        zone = host.zone if host is not None else ("nova" if server.host else "")
        row: dict[str, Any] = {
            "id": server.uuid,
            "name": server.name,
            "status": status,
            "tenant_id": server.project_id,
            "user_id": server.user_id,
            "metadata": server.metadata,
            "hostId": self._host_id(server.project_id, server.host),
            "image": self._image(server),
            "flavor": self._flavor_of(server),
            "created": parts.second(server.created_at),
            "updated": parts.second(server.updated_at or server.created_at),
            "addresses": {},
            "accessIPv4": server.birth.access_ip_v4 if server.birth else "",
            "accessIPv6": server.birth.access_ip_v6 if server.birth else "",
            "links": [
                {"rel": "self", "href": self._self_base + server.uuid},
                {"rel": "bookmark", "href": self._bookmark_base + server.uuid},
            ],
            "OS-DCF:diskConfig": server.birth.disk_config if server.birth else "MANUAL",
            "OS-EXT-AZ:availability_zone": zone,
            "config_drive": "",
            "key_name": None,
            "OS-SRV-USG:launched_at": parts.stamp_or_none(server.launched_at),
            "OS-SRV-USG:terminated_at": parts.stamp_or_none(server.deleted_at),
            "security_groups": [{"name": "default"}],
            "OS-EXT-STS:task_state": server.task_state.value if server.task_state else None,
            "OS-EXT-STS:vm_state": server.vm_state.value,
            "OS-EXT-STS:power_state": int(server.power_state),
            "os-extended-volumes:volumes_attached": [],
        }
        if status in _WITH_PROGRESS:
            row["progress"] = server.progress
        if status in _WITH_FAULT and (server.fault or server.reason):
            row["fault"] = self._fault(server)
        if self._shows_extended:
            self._add_extended(row, server)
        self._add_later(row, server, host, is_host_up)
        return row

    def _add_extended(self, row: dict[str, Any], server: model.Server) -> None:
        row["OS-EXT-SRV-ATTR:host"] = server.host
        row["OS-EXT-SRV-ATTR:hypervisor_hostname"] = server.node
        row["OS-EXT-SRV-ATTR:instance_name"] = server.instance_name
        if self._version >= (2, 3):
            row |= {
                # Nova's id of the request that made the server; a guest that was found has none.
                "OS-EXT-SRV-ATTR:reservation_id": server.reservation_id or "",
                "OS-EXT-SRV-ATTR:launch_index": server.birth.launch_index if server.birth else 0,
                "OS-EXT-SRV-ATTR:hostname": server.hostname or server.name,
                "OS-EXT-SRV-ATTR:kernel_id": "",
                "OS-EXT-SRV-ATTR:ramdisk_id": "",
                "OS-EXT-SRV-ATTR:root_device_name": f"/dev/{server.disks[0].name}" if server.disks else None,
                "OS-EXT-SRV-ATTR:user_data": None,
            }

    def _add_later(self, row: dict[str, Any], server: model.Server, host: host_model.Host | None, is_host_up: bool) -> None:
        version = self._version
        if version >= (2, 9):
            row["locked"] = server.locked_by is not None
        if version >= (2, 16) and self._shows_host_status:
            row["host_status"] = _host_status(host, is_host_up)
        if version >= (2, 19):
            row["description"] = server.description
        if version >= (2, 26):
            row["tags"] = list(server.tags)
        if version >= (2, 63):
            row["trusted_image_certificates"] = None
        if version >= (2, 73):
            row["locked_reason"] = server.locked_reason
        if version >= (2, 90):
            row["OS-EXT-SRV-ATTR:hostname"] = server.hostname or server.name
        if version >= (2, 96):
            row["pinned_availability_zone"] = server.pinned_zone
        if version >= (2, 100):
            row["scheduler_hints"] = dict(server.birth.hints) if server.birth else {}

    def _image(self, server: model.Server) -> dict[str, Any] | str:
        if server.birth is None or server.image_ref is None:
            # A guest that was found has its disks, which Nova shows as an empty string too.
            return ""
        link = self._call.address.bookmark(f"/images/{server.image_ref}")
        image: dict[str, Any] = {"id": server.image_ref, "links": [{"rel": "bookmark", "href": link}]}
        if self._version >= (2, 98):
            image["properties"] = dict(server.birth.image_properties)
        return image

    def _fault(self, server: model.Server) -> dict[str, Any]:
        if server.fault is None:
            return {"code": 500, "created": parts.second(server.updated_at or server.created_at), "message": server.reason}
        row: dict[str, Any] = {"code": server.fault.code, "created": parts.second(server.fault.created_at), "message": server.fault.message}
        if server.fault.details and self._shows_extended:
            row["details"] = server.fault.details
        return row

    def _flavor_of(self, server: model.Server) -> dict[str, Any]:
        if server.flavor is None:
            return self._size(server.memory_mib, server.vcpus, server.root_gib)
        return self._flavor(server.flavor)

    def _make_size(self, memory_mib: int, vcpus: int, root_gib: int) -> dict[str, Any]:
        return self._flavor(flavor_model.of_size(memory_mib=memory_mib, vcpus=vcpus, root_gib=root_gib))

    def _flavor(self, flavor: flavor_model.Flavor) -> dict[str, Any]:
        if self._version >= (2, 47):
            return flavors.embedded(flavor, shows_extra_specs=self._shows_extra_specs)
        return flavors.linked(self._call, flavor)
