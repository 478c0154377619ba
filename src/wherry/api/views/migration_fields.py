# SPDX-License-Identifier: Apache-2.0
"""What a migration shows wherever it is shown: in its server's list and in that of all servers. Pure."""

from __future__ import annotations

from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts, reasons
from wherry.model import migration as model


def fields(record: model.Migration, call: api_call.Call, *, shows_hosts: bool) -> dict[str, Any]:
    """Give them, those of the request's version; hosts are null for those who may not see them."""
    row: dict[str, Any] = {
        "id": record.id,
        "created_at": parts.stamp(record.created_at),
        "updated_at": parts.stamp_or_none(record.updated_at),
        "status": record.status.value,
        "source_compute": record.source_compute if shows_hosts else None,
        "source_node": record.source_node if shows_hosts else None,
        "dest_compute": record.dest_compute if shows_hosts else None,
        "dest_node": record.dest_node if shows_hosts else None,
    }
    if call.version >= (2, 59):
        row["uuid"] = record.uuid
    if call.version >= (2, 80):
        row["user_id"] = record.user_id
        row["project_id"] = record.project_id
    if call.version >= reasons.FROM:
        row |= reasons.fields(record.reason, uuid=record.instance_uuid, shows_hosts=shows_hosts)
    return row
