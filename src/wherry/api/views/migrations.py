# SPDX-License-Identifier: Apache-2.0
"""Migrations across servers, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import migration_fields, parts
from wherry.model import migration as model
from wherry.model import states
from wherry.policies import migrations as policies


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MigrationPage:
    """What the list handler gives."""

    migrations: Sequence[model.Migration]
    limit: int


def index(page: MigrationPage, call: api_call.Call) -> dict[str, Any]:
    """Give the list; hosts are null for those who may not see them."""
    shows_hosts = call.allows(policies.INDEX_HOST)
    content: dict[str, Any] = {"migrations": [_row(record, call, shows_hosts=shows_hosts) for record in page.migrations]}
    if call.version >= (2, 59) and page.migrations:
        following = parts.next_link(call, page.migrations, page.limit, page.migrations[-1].uuid)
        if following:
            content["migrations_links"] = following
    return content


def _row(record: model.Migration, call: api_call.Call, *, shows_hosts: bool) -> dict[str, Any]:
    row = migration_fields.fields(record, call, shows_hosts=shows_hosts)
    row["instance_uuid"] = record.instance_uuid
    # An address in cold migrations and resizes; live ones have none, as in Nova.
    row["dest_host"] = (record.dest_host or None) if shows_hosts else None
    row["old_instance_type_id"] = record.old_flavor_number
    row["new_instance_type_id"] = record.new_flavor_number
    if call.version >= (2, 23):
        row["migration_type"] = record.migration_type.value
        if record.status in states.SHOWN_IN_PROGRESS:
            row["links"] = parts.links(call, f"/servers/{record.instance_uuid}/migrations/{record.id}")
    return row
