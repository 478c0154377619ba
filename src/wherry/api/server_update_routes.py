# SPDX-License-Identifier: Apache-2.0
"""Rows of the table of routes about what servers are called, and about their tags."""

from __future__ import annotations

from wherry.api.handlers import server_tags, server_update
from wherry.api.routing import Concern, Route
from wherry.api.schemas import server_tags as tag_schemas
from wherry.api.schemas import server_update as schemas
from wherry.api.views import server_tags as tag_views
from wherry.api.views import servers as views
from wherry.policies import server_tags as tag_policies
from wherry.policies import server_update as policies

_TAGS = "/servers/{server_id}/tags"
_TAGS_FROM = "2.26"

ROUTES: tuple[Route, ...] = (
    Route(
        method="PUT",
        path="/servers/{server_id}",
        handler=server_update.update_server,
        policy=policies.UPDATE,
        concern=Concern.SERVER,
        body=schemas.UPDATE,
        view=views.updated,
        errors=(409,),
        summary="Change what a server is called and how it is described.",
    ),
    Route(
        method="GET",
        path=_TAGS,
        first=_TAGS_FROM,
        handler=server_tags.list_tags,
        policy=tag_policies.INDEX,
        concern=Concern.SERVER,
        query=tag_schemas.SHOW,
        view=tag_views.show,
        summary="Show a server's tags.",
    ),
    Route(
        method="PUT",
        path=_TAGS,
        first=_TAGS_FROM,
        handler=server_tags.replace_tags,
        policy=tag_policies.UPDATE_ALL,
        concern=Concern.SERVER,
        body=tag_schemas.REPLACE,
        view=tag_views.show,
        errors=(409,),
        summary="Replace a server's tags.",
    ),
    Route(
        method="DELETE",
        path=_TAGS,
        first=_TAGS_FROM,
        handler=server_tags.delete_tags,
        policy=tag_policies.DELETE_ALL,
        concern=Concern.SERVER,
        status=204,
        errors=(409,),
        summary="Take all tags from a server.",
    ),
    Route(
        method="GET",
        path=_TAGS + "/{tag}",
        first=_TAGS_FROM,
        handler=server_tags.check_tag,
        policy=tag_policies.SHOW,
        concern=Concern.SERVER,
        status=204,
        query=tag_schemas.SHOW,
        summary="Say whether a server has a tag.",
    ),
    Route(
        method="PUT",
        path=_TAGS + "/{tag}",
        first=_TAGS_FROM,
        handler=server_tags.add_tag,
        policy=tag_policies.UPDATE,
        concern=Concern.SERVER,
        status=201,
        location=lambda call: call.address.self_link(call.address.path),
        errors=(409,),
        summary="Add a tag to a server.",
    ),
    Route(
        method="DELETE",
        path=_TAGS + "/{tag}",
        first=_TAGS_FROM,
        handler=server_tags.delete_tag,
        policy=tag_policies.DELETE,
        concern=Concern.SERVER,
        status=204,
        errors=(409,),
        summary="Take a tag from a server.",
    ),
)
