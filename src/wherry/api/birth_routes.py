# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of routes about the making and deleting of servers, and what they are made from."""

from __future__ import annotations

from wherry.api.handlers import images, server_create, server_delete
from wherry.api.routing import Concern, Route
from wherry.api.schemas import images as image_schemas
from wherry.api.schemas import server_create as schemas
from wherry.api.views import images as image_views
from wherry.api.views import server_create as views
from wherry.policies import images as image_policies
from wherry.policies import server_create as policies

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/servers",
        handler=server_create.create_server,
        policy=policies.CREATE,
        body=schemas.CREATE,
        view=views.created,
        status=202,
        errors=(409,),
        summary="Make servers from an image: a 202 means recorded, not built.",
    ),
    Route(
        method="DELETE",
        path="/servers/{server_id}",
        handler=server_delete.delete_server,
        policy=policies.DELETE,
        concern=Concern.SERVER,
        status=204,
        errors=(409,),
        summary="Delete a server, whatever it does; what is under way with it is given up first.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="forceDelete",
        handler=server_delete.delete_server,
        policy=policies.FORCE_DELETE,
        concern=Concern.SERVER,
        body=schemas.FORCE_DELETE,
        status=202,
        errors=(409,),
        summary="Delete a server: the same as DELETE.",
    ),
    Route(
        method="POST",
        path="/servers/{server_id}/action",
        action="os-getConsoleOutput",
        handler=server_delete.show_console,
        policy=policies.CONSOLE_OUTPUT,
        concern=Concern.SERVER,
        body=schemas.CONSOLE_OUTPUT,
        view=views.console,
        errors=(409,),
        summary="Show the end of what a server has written to its serial console.",
    ),
    # ------------------------------------------------------------------- images
    Route(
        method="GET",
        path="/images",
        last="2.35",
        handler=images.list_images,
        policy=image_policies.READ,
        query=image_schemas.LIST,
        view=image_views.index,
        summary="List images.",
    ),
    Route(
        method="GET",
        path="/images/detail",
        last="2.35",
        handler=images.list_images,
        policy=image_policies.READ,
        query=image_schemas.LIST,
        view=image_views.detail,
        summary="List images with details.",
    ),
    Route(
        method="GET",
        path="/images/{image_id}",
        last="2.35",
        handler=images.show_image,
        policy=image_policies.READ,
        query=image_schemas.SHOW,
        view=image_views.show,
        summary="Show an image.",
    ),
)
