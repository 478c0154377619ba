# SPDX-License-Identifier: Apache-2.0
"""Migrations across servers, those that have ended too: the list. Read only."""

from __future__ import annotations

import enum

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.handlers import finding
from wherry.api.schemas import parameter_types
from wherry.api.views import migrations as view
from wherry.db import uow as wherry_uow
from wherry.db.repositories import migrations as migration_rows
from wherry.model import migration as model
from wherry.model import states
from wherry.policies import migrations as policies

#: First version that sorts and has pages.
_PAGED_FROM = (2, 59)
_BY_HOST = ("host", "source_compute")


async def list_migrations(call: api_call.Call) -> view.MigrationPage:
    """Give one page; before 2.59 everything, oldest first.

    :raises Forbidden: when a caller who may not see all projects does not ask for their own, or one who may not see hosts names one
    """
    project_id = call.query.one("project_id")
    if not call.allows(policies.INDEX_ALL_PROJECTS) and project_id != call.caller.project_id:
        own = f"project_id={call.caller.project_id}"
        raise errors.NarrowerAllowed(rule=policies.INDEX_ALL_PROJECTS, instead=f"{own}, which microversion 2.80 and later take")
    # Else the list would tell who asks for one host after the other which there are, and what ran where.
    if any(call.query.one(name) is not None for name in _BY_HOST) and not call.allows(policies.INDEX_HOST):
        raise errors.NarrowerAllowed(rule=policies.INDEX_HOST, instead=f"neither {' nor '.join(_BY_HOST)}")
    query = _query_of(call, project_id)
    limit = finding.limit_of(call)
    if query is None or query.limit == 0:
        return view.MigrationPage(migrations=(), limit=limit)

    async def unit(uow: wherry_uow.UnitOfWork) -> list[model.Migration]:
        return await uow.migrations.list(query)

    return view.MigrationPage(migrations=await call.parts.store.read(unit), limit=limit)


def _query_of(call: api_call.Call, project_id: str | None) -> migration_rows.MigrationQuery | None:
    """Read the filters; None when they cannot be true of any migration."""
    query = call.query
    since, before = query.time("changes-since"), query.time("changes-before")
    if since is not None and before is not None and before < since:
        raise faults.bad_request("The value of changes-since must be less than or equal to changes-before.")
    status, migration_type = query.one("status"), query.one("migration_type")
    if parameter_types.as_bool(query.one("hidden")):
        # Nova hides what it has confirmed of resizes; there are none.
        return None
    if not _is_known(states.Status, status) or not _is_known(model.MigrationType, migration_type):
        return None
    is_paged = call.version >= _PAGED_FROM
    marker = query.one("marker")
    return migration_rows.MigrationQuery(
        host=query.one("host"),
        source_compute=query.one("source_compute"),
        instance_uuid=query.one("instance_uuid"),
        statuses=None if status is None else [states.Status(status)],
        migration_type=None if migration_type is None else model.MigrationType(migration_type),
        user_id=query.one("user_id"),
        project_id=project_id,
        changes_since=since,
        changes_before=before,
        is_newest_first=is_paged,
        limit=finding.limit_of(call) if is_paged else None,
        marker=None if marker is None else marker.lower(),
    )


def _is_known(words: type[enum.StrEnum], value: str | None) -> bool:
    return value is None or value in {word.value for word in words}
