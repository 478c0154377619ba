# SPDX-License-Identifier: Apache-2.0
"""Rules of server actions."""

from __future__ import annotations

from wherry.policies import base

MIGRATE_LIVE = "os_compute_api:os-migrate-server:migrate_live"
MIGRATE_LIVE_HOST = "os_compute_api:os-migrate-server:migrate_live:host"

MIGRATE = "os_compute_api:os-migrate-server:migrate"
MIGRATE_HOST = "os_compute_api:os-migrate-server:migrate:host"
RESIZE = "os_compute_api:servers:resize"
CONFIRM_RESIZE = "os_compute_api:servers:confirm_resize"
REVERT_RESIZE = "os_compute_api:servers:revert_resize"

CHECK_MIGRATE_LIVE = "os_compute_api:os-migrate-server:check_migrate_live"

LOCK = "os_compute_api:os-lock-server:lock"
UNLOCK = "os_compute_api:os-lock-server:unlock"
UNLOCK_OVERRIDE = "os_compute_api:os-lock-server:unlock:unlock_override"
PAUSE = "os_compute_api:os-pause-server:pause"
UNPAUSE = "os_compute_api:os-pause-server:unpause"
START = "os_compute_api:servers:start"
STOP = "os_compute_api:servers:stop"
REBOOT = "os_compute_api:servers:reboot"
SUSPEND = "os_compute_api:os-suspend-server:suspend"
RESUME = "os_compute_api:os-suspend-server:resume"
RESET_STATE = "os_compute_api:os-admin-actions:reset_state"

_ACTION = ("POST /servers/{server_id}/action (os-migrateLive)",)
_UNLOCK = ("POST /servers/{server_id}/action (unlock)",)

RULES = (
    base.Rule(name=MIGRATE_LIVE, check=base.PROJECT_MANAGER_OR_ADMIN, description="Live-migrate a server.", operations=_ACTION),
    base.Rule(name=MIGRATE_LIVE_HOST, check=base.ADMIN, description="Name the host to live-migrate to.", operations=_ACTION),
    base.Rule(
        name=MIGRATE,
        check=base.PROJECT_MANAGER_OR_ADMIN,
        description="Migrate a server while it is off.",
        operations=("POST /servers/{server_id}/action (migrate)",),
    ),
    base.Rule(
        name=MIGRATE_HOST,
        check=base.ADMIN,
        description="Name the host to which a server is migrated while it is off.",
        operations=("POST /servers/{server_id}/action (migrate)",),
    ),
    base.Rule(
        name=RESIZE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Make a server another size.",
        operations=("POST /servers/{server_id}/action (resize)",),
    ),
    base.Rule(
        name=CONFIRM_RESIZE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Keep a migrated or resized server as it is.",
        operations=("POST /servers/{server_id}/action (confirmResize)",),
    ),
    base.Rule(
        name=REVERT_RESIZE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Take a migrated or resized server back.",
        operations=("POST /servers/{server_id}/action (revertResize)",),
    ),
    base.Rule(
        name=CHECK_MIGRATE_LIVE,
        check=base.PROJECT_MANAGER_OR_ADMIN,
        description="Ask what would become of a live migration; who may not name hosts sees none.",
        operations=("POST /servers/{server_id}/action (os-checkMigrateLive)",),
    ),
    base.Rule(
        name=LOCK,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Lock a server.",
        operations=("POST /servers/{server_id}/action (lock)",),
    ),
    base.Rule(name=UNLOCK, check=base.PROJECT_MEMBER_OR_ADMIN, description="Unlock a server.", operations=_UNLOCK),
    base.Rule(name=UNLOCK_OVERRIDE, check=base.ADMIN, description="Unlock a server that somebody else locked.", operations=_UNLOCK),
    base.Rule(
        name=PAUSE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Pause a server.",
        operations=("POST /servers/{server_id}/action (pause)",),
    ),
    base.Rule(
        name=UNPAUSE,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Let a paused server run on.",
        operations=("POST /servers/{server_id}/action (unpause)",),
    ),
    base.Rule(
        name=START,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Start a stopped server.",
        operations=("POST /servers/{server_id}/action (os-start)",),
    ),
    base.Rule(
        name=STOP,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Shut a server down, or power it off.",
        operations=("POST /servers/{server_id}/action (os-stop)",),
    ),
    base.Rule(
        name=REBOOT,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Reboot a server.",
        operations=("POST /servers/{server_id}/action (reboot)",),
    ),
    base.Rule(
        name=SUSPEND,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Suspend a server.",
        operations=("POST /servers/{server_id}/action (suspend)",),
    ),
    base.Rule(
        name=RESUME,
        check=base.PROJECT_MEMBER_OR_ADMIN,
        description="Let a suspended server go on.",
        operations=("POST /servers/{server_id}/action (resume)",),
    ),
    base.Rule(
        name=RESET_STATE,
        check=base.ADMIN,
        description="Reset the state of a server, which aborts its migration.",
        operations=("POST /servers/{server_id}/action (os-resetState)",),
    ),
)
