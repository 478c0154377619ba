# SPDX-License-Identifier: Apache-2.0
"""The single table of routes: path, versions, handler, schema, rule, view, success code. Everything else is made from it.

What concerns servers stands here; what is around them (hosts, zones, limits, groups) in `fleet_routes.py`, flavors in `flavor_routes.py`,
both of which this table ends with.

To add an operation: a row here; a handler, schema, rule and view in the modules of the resource's name; a line in
`microversions.py` when a version brings it. Tests hold each row against all of these. Discovery has no rows: see `handlers/versions.py`.
"""

from __future__ import annotations

from wherry.api import flavor_routes, fleet_routes
from wherry.api.handlers import (
    diagnostics,
    instance_actions,
    migrations,
    server_actions,
    server_migrations,
    server_power,
    server_states,
    servers,
)
from wherry.api.routing import Concern, Route
from wherry.api.schemas import diagnostics as diagnostics_schemas
from wherry.api.schemas import instance_actions as instance_action_schemas
from wherry.api.schemas import migrations as migration_schemas
from wherry.api.schemas import server_actions as server_action_schemas
from wherry.api.schemas import server_migrations as server_migration_schemas
from wherry.api.schemas import servers as server_schemas
from wherry.api.views import diagnostics as diagnostics_views
from wherry.api.views import instance_actions as instance_action_views
from wherry.api.views import migrations as migration_views
from wherry.api.views import server_actions as server_action_views
from wherry.api.views import server_migrations as server_migration_views
from wherry.api.views import servers as server_views
from wherry.policies import instance_actions as instance_action_policies
from wherry.policies import migrations as migration_policies
from wherry.policies import server_actions as server_action_policies
from wherry.policies import server_migrations as server_migration_policies
from wherry.policies import servers as server_policies

ROUTES: tuple[Route, ...] = (
    # ------------------------------------------------------------------ servers
    Route(
        method="GET",
        path="/servers",
        handler=servers.list_servers,
        policy=server_policies.INDEX,
        query=server_schemas.LIST,
        view=server_views.index,
        summary="List servers.",
    ),
    Route(
        method="GET",
        path="/servers/detail",
        handler=servers.list_servers,
        policy=server_policies.DETAIL,
        query=server_schemas.LIST,
        view=server_views.detail,
        summary="List servers with details.",
    ),
    Route(
        method="GET",
        path="/servers/{server_id}",
        handler=servers.show_server,
        policy=server_policies.SHOW,
        concern=Concern.SERVER,
        query=server_schemas.SHOW,
        view=server_views.show,
        summary="Show a server.",
    ),
    Route(
        method="GET",
        path="/servers/{server_id}/diagnostics",
        handler=diagnostics.show_diagnostics,
        policy=server_policies.DIAGNOSTICS,
        concern=Concern.SERVER,
        query=diagnostics_schemas.SHOW,
        view=diagnostics_views.show,
        errors=(409,),
        summary="Show what is known of a running server.",
    ),
    # ----------------------------------------------------------- server actions
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="os-migrateLive",
        handler=server_actions.live_migrate,
        policy=server_action_policies.MIGRATE_LIVE,
        concern=Concern.SERVER,
        body=server_action_schemas.MIGRATE_LIVE,
        status=202,
        errors=(409,),
        summary="Live-migrate a server: from 2.34 on a 202 means recorded, not checked.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        first="2.1000",
        action="os-checkMigrateLive",
        handler=server_actions.check_live_migration,
        policy=server_action_policies.CHECK_MIGRATE_LIVE,
        concern=Concern.SERVER,
        body=server_action_schemas.CHECK_MIGRATE_LIVE,
        view=server_action_views.check,
        errors=(409,),
        summary="Say what would become of a live migration, host by host, without moving anything.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="os-resetState",
        handler=server_states.reset_state,
        policy=server_action_policies.RESET_STATE,
        concern=Concern.SERVER,
        body=server_action_schemas.RESET_STATE,
        status=202,
        errors=(409,),
        summary="Set the state of a server, and abort its migration.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="lock",
        handler=server_states.lock,
        policy=server_action_policies.LOCK,
        concern=Concern.SERVER,
        body=server_action_schemas.LOCK,
        status=202,
        errors=(409,),
        summary="Lock a server against all but administrators.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="unlock",
        handler=server_states.unlock,
        policy=server_action_policies.UNLOCK,
        concern=Concern.SERVER,
        body=server_action_schemas.UNLOCK,
        status=202,
        errors=(409,),
        summary="Unlock a server.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="pause",
        handler=server_power.pause,
        policy=server_action_policies.PAUSE,
        concern=Concern.SERVER,
        body=server_action_schemas.PAUSE,
        status=202,
        errors=(409,),
        summary="Pause a server: its memory stays, nothing runs.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="unpause",
        handler=server_power.unpause,
        policy=server_action_policies.UNPAUSE,
        concern=Concern.SERVER,
        body=server_action_schemas.UNPAUSE,
        status=202,
        errors=(409,),
        summary="Let a paused server run on.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="os-start",
        handler=server_power.start,
        policy=server_action_policies.START,
        concern=Concern.SERVER,
        body=server_action_schemas.START,
        status=202,
        errors=(409,),
        summary="Start a stopped server.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="os-stop",
        handler=server_power.stop,
        policy=server_action_policies.STOP,
        concern=Concern.SERVER,
        body=server_action_schemas.STOP,
        status=202,
        errors=(409,),
        summary="Shut a server down; one that does not heed it is powered off after its time.",
    ),
    # -------------------------------------------------------- server migrations
    Route(
        method="GET",
        path="/servers/{server_id}/migrations",
        first="2.23",
        handler=server_migrations.list_server_migrations,
        policy=server_migration_policies.INDEX,
        concern=Concern.SERVER,
        query=server_migration_schemas.LIST,
        view=server_migration_views.index,
        summary="List a server's live migrations in progress.",
    ),
    Route(
        method="GET",
        path="/servers/{server_id}/migrations/{migration_id}",
        first="2.23",
        handler=server_migrations.show_server_migration,
        policy=server_migration_policies.SHOW,
        concern=Concern.SERVER,
        query=server_migration_schemas.SHOW,
        view=server_migration_views.show,
        summary="Show a server's live migration.",
    ),
    Route(
        method="DELETE",
        path="/servers/{server_id}/migrations/{migration_id}",
        first="2.24",
        handler=server_migrations.abort_live_migration,
        policy=server_migration_policies.DELETE,
        concern=Concern.SERVER,
        status=202,
        errors=(409,),
        summary="Abort a server's live migration.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/migrations/{migration_id}/action",
        first="2.22",
        action="force_complete",
        handler=server_migrations.force_complete,
        policy=server_migration_policies.FORCE_COMPLETE,
        concern=Concern.SERVER,
        body=server_migration_schemas.FORCE_COMPLETE,
        status=202,
        errors=(409,),
        summary="Force a server's live migration to complete.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/migrations/{migration_id}/action",
        first="2.1000",
        action="resume_post_copy",
        handler=server_migrations.resume_post_copy,
        policy=server_migration_policies.MEND,
        concern=Concern.SERVER,
        body=server_migration_schemas.RESUME_POST_COPY,
        status=202,
        errors=(409,),
        summary="Try at once to resume a server's broken post-copy.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/migrations/{migration_id}/action",
        first="2.1000",
        action="give_up",
        handler=server_migrations.give_up,
        policy=server_migration_policies.MEND,
        concern=Concern.SERVER,
        body=server_migration_schemas.GIVE_UP,
        status=202,
        errors=(409,),
        summary="Give a server's broken post-copy up: it ends in error, and both hosts keep their part.",
    ),
    # --------------------------------------------------------------- migrations
    Route(
        method="GET",
        path="/os-migrations",
        handler=migrations.list_migrations,
        policy=migration_policies.INDEX,
        query=migration_schemas.LIST,
        view=migration_views.index,
        summary="List migrations, those that have ended too.",
    ),
    # --------------------------------------------------------- instance actions
    Route(
        method="GET",
        path="/servers/{server_id}/os-instance-actions",
        handler=instance_actions.list_actions,
        policy=instance_action_policies.LIST,
        concern=Concern.SERVER,
        query=instance_action_schemas.LIST,
        view=instance_action_views.index,
        summary="List what was asked of a server.",
    ),
    Route(
        method="GET",
        path="/servers/{server_id}/os-instance-actions/{request_id}",
        handler=instance_actions.show_action,
        policy=instance_action_policies.SHOW,
        concern=Concern.SERVER,
        query=instance_action_schemas.SHOW,
        view=instance_action_views.show,
        summary="Show what became of one request about a server, stage by stage.",
    ),
    *fleet_routes.ROUTES,
    *flavor_routes.ROUTES,
)
