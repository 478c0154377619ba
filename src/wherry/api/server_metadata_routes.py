# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of routes about servers' metadata."""

from __future__ import annotations

from wherry.api.handlers import server_metadata as handlers
from wherry.api.routing import Concern, Route
from wherry.api.schemas import server_metadata as schemas
from wherry.api.views import server_metadata as views
from wherry.policies import server_metadata as policies

_PATH = "/servers/{server_id}/metadata"

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=_PATH,
        handler=handlers.list_metadata,
        policy=policies.INDEX,
        concern=Concern.SERVER,
        query=schemas.SHOW,
        view=views.show,
        summary="Show a server's metadata.",
    ),
    Route(
        method="POST",
        path=_PATH,
        handler=handlers.create_metadata,
        policy=policies.CREATE,
        concern=Concern.SERVER,
        body=schemas.SEVERAL,
        view=views.show,
        errors=(409,),
        summary="Add to a server's metadata.",
    ),
    Route(
        method="PUT",
        path=_PATH,
        handler=handlers.replace_metadata,
        policy=policies.UPDATE_ALL,
        concern=Concern.SERVER,
        body=schemas.SEVERAL,
        view=views.show,
        errors=(409,),
        summary="Replace a server's metadata.",
    ),
    Route(
        method="GET",
        path=_PATH + "/{key}",
        handler=handlers.show_metadata,
        policy=policies.SHOW,
        concern=Concern.SERVER,
        query=schemas.SHOW,
        view=views.show_one,
        summary="Show one item of a server's metadata.",
    ),
    Route(
        method="PUT",
        path=_PATH + "/{key}",
        handler=handlers.update_metadata,
        policy=policies.UPDATE,
        concern=Concern.SERVER,
        body=schemas.ONE,
        view=views.show_one,
        errors=(409,),
        summary="Set one item of a server's metadata.",
    ),
    Route(
        method="DELETE",
        path=_PATH + "/{key}",
        handler=handlers.delete_metadata,
        policy=policies.DELETE,
        concern=Concern.SERVER,
        status=204,
        errors=(409,),
        summary="Delete one item of a server's metadata.",
    ),
)
