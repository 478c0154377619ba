# SPDX-License-Identifier: Apache-2.0
"""A read-only image service for clients without one, in Glance's words: versions, list, show. Not there when Keystone is used.

Clients look images up by name there before they make a server, and some list no servers when the catalog names no image service.
"""

from __future__ import annotations

import datetime
import urllib.parse
from typing import Any

from starlette import types

from wherry import errors
from wherry.api import answers, dispatcher, faults
from wherry.api.middleware import exchange
from wherry.auth import login as auth_login
from wherry.images import base as images_base
from wherry.model import image

PREFIX = auth_login.IMAGE_PREFIX
_METHODS = ("GET", "HEAD")


class ImageRoutes:
    """Answers /image and what is below it; everything else goes on."""

    def __init__(self, app: types.ASGIApp, images: images_base.ImageList) -> None:
        self._app = app
        self._images = images

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        segments = tuple(segment for segment in scope.get("path", "").split("/") if segment)
        if scope["type"] != "http" or segments[:1] != (PREFIX[1:],):
            await self._app(scope, receive, send)
            return
        exchange.of(scope).route = PREFIX
        if scope["method"] not in _METHODS:
            raise faults.HttpFault(405, "Images are only read here; `wherry image add` adds them.", {"Allow": ", ".join(_METHODS)})
        query = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1")))
        await answers.json_answer(await self._content(segments[1:], query, dispatcher.base_address(scope)), 200)(scope, receive, send)

    async def _content(self, segments: tuple[str, ...], query: dict[str, str], base: str) -> dict[str, Any]:
        match segments:
            case () | ("v2",):
                links = [{"rel": "self", "href": f"{base}{PREFIX}/v2/"}]
                return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}
            case ("v2", "images"):
                found = [_row(one) for one in await self._images.list() if _is_wanted(one, query)]
                return {"images": found, "first": "/v2/images", "schema": "/v2/schemas/images"}
            case ("v2", "images", named):
                try:
                    return _row(await self._images.get(named.lower()))
                except errors.ImageNotFound as error:
                    raise faults.HttpFault(404, error.message) from error
        raise faults.not_found()


def _is_wanted(one: image.Image, query: dict[str, str]) -> bool:
    # Anything else that may be filtered by is the same for all.
    asked = query.get("id")
    ids = None if asked is None else asked.removeprefix("in:").split(",")
    return query.get("name") in (None, one.name) and (ids is None or one.id in ids)


def _row(one: image.Image) -> dict[str, Any]:
    made_at = one.created_at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        **one.properties,
        "id": one.id,
        "name": one.name,
        "status": "active",
        "visibility": "public",
        "protected": False,
        "container_format": "bare",
        "disk_format": one.disk_format,
        "size": one.size_bytes,
        "virtual_size": one.virtual_bytes or None,
        "checksum": None,
        "os_hash_algo": "sha256",
        "os_hash_value": one.checksum,
        "min_disk": one.min_disk_gib,
        "min_ram": one.min_ram_mib,
        "tags": [],
        "created_at": made_at,
        "updated_at": made_at,
        "self": f"/v2/images/{one.id}",
        "schema": "/v2/schemas/image",
    }
