# SPDX-License-Identifier: Apache-2.0
"""Images, as Nova's proxy showed them up to 2.35. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.model import image as model


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImagePage:
    """What the list handler gives."""

    images: Sequence[model.Image]
    limit: int


def index(page: ImagePage, call: api_call.Call) -> dict[str, Any]:
    """Give the short list."""
    return _page(page, call, [_brief(one, call) for one in page.images])


def detail(page: ImagePage, call: api_call.Call) -> dict[str, Any]:
    """Give the long list."""
    return _page(page, call, [_full(one, call) for one in page.images])


def show(one: model.Image, call: api_call.Call) -> dict[str, Any]:
    """Give one image."""
    return {"image": _full(one, call)}


def _page(page: ImagePage, call: api_call.Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"images": rows}
    following = parts.next_link(call, rows, page.limit, page.images[-1].id if page.images else "")
    if following:
        content["images_links"] = following
    return content


def _brief(one: model.Image, call: api_call.Call) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "links": parts.links(call, f"/images/{one.id}")}


def _full(one: model.Image, call: api_call.Call) -> dict[str, Any]:
    return _brief(one, call) | {
        "status": "ACTIVE",
        "progress": 100,
        "minDisk": one.min_disk_gib,
        "minRam": one.min_ram_mib,
        "metadata": dict(one.properties),
        "created": parts.second(one.created_at),
        "updated": parts.second(one.created_at),
        "OS-EXT-IMG-SIZE:size": one.size_bytes,
    }
