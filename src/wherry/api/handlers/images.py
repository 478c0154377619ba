# SPDX-License-Identifier: Apache-2.0
"""Images: list and show, read only. Nova ended this proxy with 2.35; newer clients ask an image service."""

from __future__ import annotations

from wherry import errors
from wherry.api import call as api_call
from wherry.api.handlers import finding
from wherry.api.views import images as view
from wherry.model import image as model


async def list_images(call: api_call.Call) -> view.ImagePage:
    """Give one page by name."""
    limit, marker, name = finding.limit_of(call), call.query.one("marker"), call.query.one("name")
    images = [one for one in await call.parts.images.list(call.caller.token) if name in (None, one.name)]
    if marker is not None:
        ids = [one.id for one in images]
        if marker not in ids:
            raise errors.MarkerNotFound(marker=marker)
        images = images[ids.index(marker) + 1 :]
    return view.ImagePage(images=images[:limit], limit=limit)


async def show_image(call: api_call.Call) -> model.Image:
    """Give one image."""
    return await call.parts.images.get(call.arguments["image_id"].lower(), call.caller.token)
