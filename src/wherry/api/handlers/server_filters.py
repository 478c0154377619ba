# SPDX-License-Identifier: Apache-2.0
"""Filters, order and page of a list of servers: what each parameter that Nova knows comes to here. Reads no database.

Not one is ignored: a filter that no server here can satisfy gives an empty list, one that a caller may not use is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults, validation
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import servers as view
from wherry.db import paging
from wherry.db.repositories import servers as server_rows
from wherry.model import server as server_model
from wherry.policies import servers as policies

#: Filters that no server here can satisfy, because it has no key, kernel or address.
_NEVER_TRUE = ("key_name", "kernel_id", "ramdisk_id", "ip", "ip6", "access_ip_v4", "access_ip_v6")
#: Filters by what is the same for every server here, and that.
_SAME_FOR_ALL = {"config_drive": False, "auto_disk_config": False, "soft_deleted": False}
#: Filters that everybody may use from 2.83 on, and administrators always.
_MORE = frozenset(
    {"availability_zone", "config_drive", "key_name", "launched_at", "power_state", "progress", "task_state", "terminated_at"}
    | {"user_id", "vm_state"}
)
_MORE_FROM = (2, 83)
#: Filters that everybody may use at every version; the rest are the administrators', and dropped without a word for others, as in Nova.
_FOR_ALL = frozenset(
    {"all_tenants", "changes-since", "changes-before", "flavor", "image", "ip", "ip6", "locked", "name", "display_name", "not-tags"}
    | {"not-tags-any", "project_id", "reservation_id", "status", "tags", "tags-any", "tenant_id", "uuid"}
)
#: What Nova calls the columns that lists may be sorted by, where it is not what they are called here.
_SORT_KEYS = {
    "display_name": "name",
    "instance_uuid": "uuid",
    "memory_mb": "memory_mib",
    "root_gb": "root_gib",
    "locked": "locked_by",
    "terminated_at": "deleted_at",
}
#: Those that tell where a server runs: whoever may not filter by them may not sort by them, as in Nova.
_PRIVATE_SORT_KEYS = frozenset({"host", "node"})
#: Filter -> column, and how its value is read; what cannot be read is true of no server.
_EQUAL: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "host": ("host", str),
    "node": ("node", str),
    "user_id": ("user_id", str),
    "locked_by": ("locked_by", str),
    "description": ("description", str),
    "display_description": ("description", str),
    "hostname": ("hostname", str),
    "image": ("image_ref", str),
    "image_ref": ("image_ref", str),
    "reservation_id": ("reservation_id", str),
    "instance_name": ("name", str),
    "task_state": ("task_state", server_model.TaskState),
    "vm_state": ("vm_state", server_model.VmState),
    "power_state": ("power_state", lambda text: server_model.PowerState(int(text))),
    # A ValueError beyond 100 too: no database takes numbers of any size.
    "progress": ("progress", lambda text: range(101).index(int(text))),
    "created_at": ("created_at", validation.read_time),
    "launched_at": ("launched_at", validation.read_time),
    "terminated_at": ("deleted_at", validation.read_time),
}


def query_of(call: api_call.Call) -> server_rows.ServerQuery | None:
    """Read the filters; None when they cannot be true of any server."""
    query = call.query
    if any(_asked(call, name) for name in _NEVER_TRUE):
        return None
    if any((asked := _asked(call, name)) and parameter_types.as_bool(asked) is not same for name, same in _SAME_FOR_ALL.items()):
        return None
    if _asked(call, "launch_index") not in (None, "0"):
        return None
    statuses, equal = _statuses_of(call), _equal_of(call)
    if statuses == [] or equal is None:
        return None
    locked, since, before = query.one("locked"), query.time("changes-since"), query.time("changes-before")
    if since is not None and before is not None and before < since:
        raise faults.bad_request("The value of changes-since must be less than or equal to changes-before.")
    uuid = query.one("uuid")
    asked_for_deleted = parameter_types.as_bool(query.one("deleted")) and call.allows(policies.ALL_FILTERS)
    return server_rows.ServerQuery(
        name=_name_of(call),
        uuids=[uuid.lower()] if uuid is not None else None,
        statuses=statuses,
        project_id=_project_of(call),
        # As in Nova, a list of changes shows what was deleted, too.
        deleted=None if since is not None and query.one("deleted") is None else asked_for_deleted,
        is_locked=None if locked is None else parameter_types.as_bool(locked),
        equal=equal,
        flavor=query.one("flavor"),
        tags=_tags(call, "tags"),
        tags_any=_tags(call, "tags-any"),
        not_tags=_tags(call, "not-tags"),
        not_tags_any=_tags(call, "not-tags-any"),
        changes_since=since,
        changes_before=before,
        sort=_sort_of(call),
        limit=finding.limit_of(call),
        marker=query.one("marker"),
    )


def zone_of(call: api_call.Call) -> str | None:
    """Give the zone that servers are asked for by; None = any."""
    return _asked(call, "availability_zone")


def _asked(call: api_call.Call, name: str) -> str | None:
    """Give a filter's value; None without one, and where the caller may not use it."""
    asked = call.query.one(name)
    if asked is None or name in _FOR_ALL or (name in _MORE and call.version >= _MORE_FROM):
        return asked
    return asked if call.allows(policies.ALL_FILTERS) else None


def _equal_of(call: api_call.Call) -> dict[str, object] | None:
    equal: dict[str, object] = {}
    for name, (column, read) in _EQUAL.items():
        asked = _asked(call, name)
        if asked is None:
            continue
        try:
            value = read(asked)
        except ValueError:
            return None
        if equal.setdefault(column, value) != value:
            return None
    return equal


def _name_of(call: api_call.Call) -> str | None:
    """Give the pattern that names are held to; Nova has two names for the filter."""
    name, display_name = call.query.one("name"), call.query.one("display_name")
    return display_name if name is None else name


def _tags(call: api_call.Call, name: str) -> list[str]:
    return [tag for text in call.query.all(name) for tag in text.split(",") if tag]


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
        raise errors.SortKeyInvalid(key=unknown[0], accepted=sorted((server_rows.SORT_KEYS | _SORT_KEYS.keys()) - set(_SORT_KEYS.values())))
    private = [name for name in named if name in _PRIVATE_SORT_KEYS]
    if private and not call.allows(policies.ALL_FILTERS):
        raise faults.HttpFault(403, f"Only administrators can sort servers by {private[0]}. Sort by another key, such as created_at.")
    padded = [*directions, *["desc"] * (len(named) - len(directions))]
    return tuple(paging.SortKey(name=name, is_descending=direction == "desc") for name, direction in zip(named, padded, strict=True))
