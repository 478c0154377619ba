# SPDX-License-Identifier: Apache-2.0
"""Bodies of server actions."""

from __future__ import annotations

from typing import Any

from wherry.api import validation
from wherry.api.schemas import parameter_types as types
from wherry.model import deadline

#: Longest deadline that may be asked for: a year.
MAX_TIMEOUT_SECONDS = 366 * 24 * 3600


def _migrate_live(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return types.action("os-migrateLive", types.payload(properties, required=required))


_V1 = {"host": types.HOST_OR_NULL, "block_migration": types.BOOLEAN, "disk_over_commit": types.BOOLEAN}
_V25 = {"host": types.HOST_OR_NULL, "block_migration": types.BOOLEAN_OR_AUTO}
_V30 = {**_V25, "force": types.BOOLEAN}
_V1000 = {
    **_V25,
    # Seconds from the start of the transfer, 0 = no deadline; absolute, unlike the configured ones per GiB.
    "timeout_seconds": {"type": "integer", "minimum": 0, "maximum": MAX_TIMEOUT_SECONDS},
    "on_timeout": {"type": "string", "enum": [action.value for action in deadline.TimeoutAction]},
}

MIGRATE_LIVE = validation.Schema(
    ("2.1", _migrate_live(_V1, "host", "block_migration", "disk_over_commit")),
    ("2.25", _migrate_live(_V25, "host", "block_migration")),
    ("2.30", _migrate_live(_V30, "host", "block_migration")),
    ("2.68", _migrate_live(_V25, "host", "block_migration")),
    ("2.1000", _migrate_live(_V1000, "host", "block_migration")),
)

CHECK_MIGRATE_LIVE = validation.Schema(
    ("2.1000", types.action("os-checkMigrateLive", types.payload(_V1000, required=("host", "block_migration"))))
)

#: Below 2.73 Nova looks at nothing behind these keys.
LOCK = validation.Schema(
    ("2.1", types.action("lock", {})),
    ("2.73", types.action("lock", {**types.payload({"locked_reason": types.REASON}), "type": ["object", "null"]})),
)
UNLOCK = validation.Schema(("2.1", types.action("unlock", {})))
RESET_STATE = validation.Schema(
    ("2.1", types.action("os-resetState", types.payload({"state": {"type": "string", "enum": ["active", "error"]}}, required=("state",))))
)
#: Nova looks at nothing behind these keys.
PAUSE = validation.Schema(("2.1", types.action("pause", {})))
UNPAUSE = validation.Schema(("2.1", types.action("unpause", {})))
START = validation.Schema(("2.1", types.action("os-start", {})))
STOP = validation.Schema(("2.1", types.action("os-stop", {})))
MIGRATE = validation.Schema(
    ("2.1", types.action("migrate", {})),
    ("2.56", types.action("migrate", {**types.payload({"host": types.HOST_OR_NULL}), "type": ["object", "null"]})),
)
_FLAVOR = {"type": ["string", "integer"], "minLength": 1, "maxLength": 255}
_DISK_CONFIG = {"type": "string", "enum": ["AUTO", "MANUAL"]}
RESIZE = validation.Schema(
    ("2.1", types.action("resize", types.payload({"flavorRef": _FLAVOR, "OS-DCF:diskConfig": _DISK_CONFIG}, required=("flavorRef",)))),
)
CONFIRM_RESIZE = validation.Schema(("2.1", types.action("confirmResize", {})))
REVERT_RESIZE = validation.Schema(("2.1", types.action("revertResize", {})))
SUSPEND = validation.Schema(("2.1", types.action("suspend", {})))
RESUME = validation.Schema(("2.1", types.action("resume", {})))
_REBOOT_TYPE = {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}
REBOOT = validation.Schema(("2.1", types.action("reboot", types.payload({"type": _REBOOT_TYPE}, required=("type",)))))
