# SPDX-License-Identifier: Apache-2.0
"""What would become of a live migration, for those who may see hosts and for those who may not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import reasons
from wherry.model import feasibility as model
from wherry.model import migration
from wherry.policies import server_actions as policies


def check(found: model.Feasibility, call: api_call.Call) -> dict[str, Any]:
    """Give the whole answer."""
    shows_hosts, uuid = call.allows(policies.MIGRATE_LIVE_HOST), call.arguments["server_id"].lower()
    return {
        "live_migration_check": {
            "allowed": found.is_allowed,
            "source": found.source if shows_hosts else None,
            "blockers": _blockers(found.blockers, uuid=uuid, shows_hosts=shows_hosts),
            "hosts": [_host(one, uuid=uuid, shows_hosts=shows_hosts) for one in found.candidates],
        }
    }


def _host(candidate: model.Candidate, *, uuid: str, shows_hosts: bool) -> dict[str, Any]:
    return {
        "host": candidate.host if shows_hosts else None,
        # None: fits by its record; its hypervisor was not asked.
        "allowed": candidate.is_allowed,
        "blockers": _blockers(candidate.blockers, uuid=uuid, shows_hosts=shows_hosts),
        "warnings": list(candidate.warnings) if shows_hosts else [],
        "timeout_actions": [action.value for action in candidate.timeout_actions],
        "block_migration": candidate.is_block_migration,
        "estimate": _estimate(candidate.estimate),
    }


def _blockers(blockers: Sequence[model.Blocker], *, uuid: str, shows_hosts: bool) -> list[dict[str, Any]]:
    given = (migration.Reason(slug=one.slug, message=one.message, remedy=one.remedy) for one in blockers)
    rows = (reasons.fields(one, uuid=uuid, shows_hosts=shows_hosts) for one in given)
    return [{"slug": row["reason"], "reason": row["reason_message"], "remedy": row["remedy"]} for row in rows]


def _estimate(found: model.Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "seconds_low": found.seconds_low,
        "seconds_high": found.seconds_high,
        "pause_ms_low": found.pause_ms_low,
        "pause_ms_high": found.pause_ms_high,
        "basis": found.basis,
    }
