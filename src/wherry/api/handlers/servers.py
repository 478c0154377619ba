# SPDX-License-Identifier: Apache-2.0
"""Servers: lists and show. Read only."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import flavors
from wherry.api.views import servers as view
from wherry.db import paging
from wherry.db import uow as wherry_uow
from wherry.db.repositories import hosts as host_rows
from wherry.db.repositories import servers as server_rows
from wherry.model import host as host_model
from wherry.model import server as server_model
from wherry.policies import servers as policies

#: Filters that no server here can satisfy, because it has no image, key, address or tag.
_NEVER_TRUE = ("image", "image_ref", "key_name", "kernel_id", "ramdisk_id", "reservation_id", "ip", "ip6", "access_ip_v4", "access_ip_v6")
_NEVER_TRUE_TAGS = ("tags", "tags-any")
#: What Nova calls the columns that lists may be sorted by.
_SORT_KEYS = {
    "display_name": "name",
    "instance_uuid": "uuid",
    "memory_mb": "memory_mib",
    "root_gb": "root_gib",
    "locked": "locked_by",
}


async def list_servers(call: api_call.Call) -> view.ServerPage:
    """Give one page of servers, for both lists."""
    query = _query_of(call)
    if query is None or query.limit == 0:
        return view.ServerPage(servers=(), hosts={}, up=frozenset(), limit=finding.limit_of(call))
    is_detailed = call.address.path.endswith("/detail")

    async def unit(uow: wherry_uow.UnitOfWork) -> tuple[list[server_model.Server], list[host_model.Host]]:
        servers = await uow.servers.list(query)
        names = sorted({server.host for server in servers if server.host}) if is_detailed else []
        return servers, await uow.hosts.list(host_rows.HostQuery(names=names)) if names else []

    servers, hosts = await call.parts.store.read(unit)
    return view.ServerPage(
        servers=servers,
        hosts={host.name: host for host in hosts},
        up=frozenset(host.name for host in hosts if _is_up(call, host)),
        limit=finding.limit_of(call),
    )


async def show_server(call: api_call.Call) -> view.ShownServer:
    """Give one server."""

    async def unit(uow: wherry_uow.UnitOfWork) -> view.ShownServer:
        server = await finding.server_of(uow, call)
        host = None
        if server.host:
            hosts = await uow.hosts.list(host_rows.HostQuery(names=[server.host]))
            host = hosts[0] if hosts else None
        group = await uow.server_groups.group_of(server.uuid) if call.version >= view.GROUPS_FROM else None
        return view.ShownServer(server=server, host=host, is_host_up=host is not None and _is_up(call, host), group=group)

    return await call.parts.store.read(unit)


def _is_up(call: api_call.Call, host: host_model.Host) -> bool:
    return host_model.is_up(host, call.parts.clock.now(), call.parts.config.default.service_down_time_seconds)


def _query_of(call: api_call.Call) -> server_rows.ServerQuery | None:
    """Read the filters; None when they cannot be true of any server."""
    query = call.query
    may_filter = call.allows(policies.ALL_FILTERS)
    if any(query.one(name) for name in (*_NEVER_TRUE, *_NEVER_TRUE_TAGS)):
        return None
    flavor, statuses = query.one("flavor"), _statuses_of(call)
    if statuses == []:
        return None
    size = flavors.parse_id(flavor) if flavor is not None else None
    if flavor is not None and size is None:
        return None
    asked_for_deleted = parameter_types.as_bool(query.one("deleted")) and may_filter
    locked = query.one("locked")
    since, before = query.time("changes-since"), query.time("changes-before")
    if since is not None and before is not None and before < since:
        raise faults.bad_request("The value of changes-since must be less than or equal to changes-before.")
    uuid = query.one("uuid")
    return server_rows.ServerQuery(
        # Nova drops what a caller may not filter by, without a word.
        host=query.one("host") if may_filter else None,
        name=query.one("name"),
        uuids=[uuid.lower()] if uuid is not None else None,
        statuses=statuses,
        vm_states=_vm_states_of(call) if may_filter else None,
        project_id=_project_of(call),
        user_id=query.one("user_id") if may_filter else None,
        # As in Nova, a list of changes shows what was deleted, too.
        deleted=None if since is not None and query.one("deleted") is None else asked_for_deleted,
        is_locked=None if locked is None else parameter_types.as_bool(locked),
        memory_mib=size.memory_mib if size else None,
        vcpus=size.vcpus if size else None,
        root_gib=size.root_gib if size else None,
        changes_since=since,
        changes_before=before,
        sort=_sort_of(call),
        limit=finding.limit_of(call),
        marker=query.one("marker"),
    )


def _project_of(call: api_call.Call) -> str | None:
    """Give the project whose servers are listed; None = of all.

    :raises Forbidden: when all are asked for by somebody who may not
    """
    asked = call.query.one("all_tenants")
    if asked is not None and (asked == "" or parameter_types.as_bool(asked)):
        is_detailed = call.address.path.endswith("/detail")
        call.require(policies.DETAIL_ALL_PROJECTS if is_detailed else policies.INDEX_ALL_PROJECTS)
        return call.query.one("project_id") or call.query.one("tenant_id")
    if asked is not None and not asked.isdigit() and asked not in parameter_types.BOOLEAN["enum"]:
        raise faults.bad_request(f"Invalid value '{asked}' for all_tenants. Send 1 or 0.")
    return call.caller.project_id


def _statuses_of(call: api_call.Call) -> list[tuple[server_model.VmState, server_model.TaskState | None]] | None:
    asked = call.query.all("status")
    if not asked:
        return None
    found: list[tuple[server_model.VmState, server_model.TaskState | None]] = []
    for status in asked:
        known = status.upper()
        if known not in view.KNOWN_STATUSES and call.version >= (2, 38):
            raise faults.bad_request(f"Invalid status value {status}. Use one of: {', '.join(sorted(view.KNOWN_STATUSES))}.")
        found += view.states_of(known)
    return found


def _vm_states_of(call: api_call.Call) -> list[server_model.VmState] | None:
    asked = call.query.all("vm_state")
    return [state for state in server_model.VmState if state.value in asked] if asked else None


def _sort_of(call: api_call.Call) -> tuple[paging.SortKey, ...]:
    keys, directions = call.query.all("sort_key"), call.query.all("sort_dir")
    if len(directions) > max(len(keys), 1):
        raise faults.bad_request("Sort direction size exceeds sort key size")
    wrong = [direction for direction in directions if direction not in ("asc", "desc")]
    if wrong:
        raise faults.bad_request(f"Unknown sort direction {wrong[0]}, must be one of asc, desc.")
    if not keys:
        is_descending = not directions or directions[0] == "desc"
        return tuple(paging.SortKey(name=name, is_descending=is_descending) for name in ("created_at", "id"))
    named = [_SORT_KEYS.get(key, key) for key in keys]
    unknown = [key for key, name in zip(keys, named, strict=True) if name not in server_rows.SORT_KEYS]
    if unknown:
        raise errors.SortKeyInvalid(key=unknown[0], accepted=sorted(server_rows.SORT_KEYS))
    padded = [*directions, *["desc"] * (len(named) - len(directions))]
    return tuple(paging.SortKey(name=name, is_descending=direction == "desc") for name, direction in zip(named, padded, strict=True))
