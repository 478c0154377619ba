# SPDX-License-Identifier: Apache-2.0
"""Queries of servers.

Nova knows many filters that mean nothing here; they are accepted, because clients send them, and `handlers/servers.py` says what each
comes to.
"""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_TEXT_FILTERS = (
    "access_ip_v4",
    "access_ip_v6",
    "auto_disk_config",
    "availability_zone",
    "config_drive",
    "created_at",
    "description",
    "display_description",
    "display_name",
    "flavor",
    "host",
    "hostname",
    "image",
    "image_ref",
    "instance_name",
    "ip",
    "ip6",
    "kernel_id",
    "key_name",
    "launch_index",
    "launched_at",
    "locked_by",
    "name",
    "node",
    "power_state",
    "progress",
    "project_id",
    "ramdisk_id",
    "reservation_id",
    "root_device_name",
    "soft_deleted",
    "task_state",
    "tenant_id",
    "terminated_at",
    "user_id",
    "uuid",
    "vm_state",
)

_V1: dict[str, Any] = {
    "limit": types.several(types.COUNT),
    "marker": types.several(types.TEXT),
    "all_tenants": types.several(types.TEXT),
    "deleted": types.several(types.TEXT),
    "status": types.several(types.TEXT),
    "changes-since": types.several(types.TIME),
    "sort_key": types.several(types.TEXT),
    "sort_dir": types.several(types.TEXT),
    **{name: types.several(types.TEXT) for name in _TEXT_FILTERS},
}
_V26 = {**_V1, **{name: types.several(types.TEXT) for name in ("tags", "tags-any", "not-tags", "not-tags-any")}}
_V66 = {**_V26, "changes-before": types.several(types.TIME)}
_V73 = {**_V66, "locked": types.several(types.BOOLEAN)}

LIST = validation.Schema(
    ("2.1", types.query(_V1, is_strict=False)),
    ("2.26", types.query(_V26, is_strict=False)),
    ("2.66", types.query(_V66, is_strict=False)),
    ("2.73", types.query(_V73, is_strict=False)),
    ("2.75", types.query(_V73, is_strict=True)),
)
SHOW = validation.Schema(("2.1", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))
