# SPDX-License-Identifier: Apache-2.0
"""Flavors, in the fields of each microversion. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.model import flavor as model
from wherry.policies import flavor_extra_specs as policies


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FlavorPage:
    """What the list handler gives."""

    flavors: Sequence[model.Flavor]
    limit: int


def linked(call: api_call.Call, flavor: model.Flavor) -> dict[str, Any]:
    """Give the form that servers show below 2.47."""
    return {"id": flavor.id, "links": [{"rel": "bookmark", "href": call.address.bookmark(f"/flavors/{flavor.id}")}]}


def embedded(flavor: model.Flavor, *, shows_extra_specs: bool) -> dict[str, Any]:
    """Give the form that servers show from 2.47 on."""
    content: dict[str, Any] = {
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mib,
        "disk": flavor.root_gib,
        "ephemeral": flavor.ephemeral_gib,
        "swap": flavor.swap_mib,
        "original_name": flavor.name,
    }
    if shows_extra_specs:
        content["extra_specs"] = dict(flavor.extra_specs)
    return content


def index(page: FlavorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the short list."""
    return _page(page, call, [_brief(flavor, call) for flavor in page.flavors])


def detail(page: FlavorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the long list."""
    return _page(page, call, [_full(flavor, call) for flavor in page.flavors])


def show(flavor: model.Flavor, call: api_call.Call) -> dict[str, Any]:
    """Give one flavor."""
    return {"flavor": _full(flavor, call)}


def extra_specs(flavor: model.Flavor, _call: api_call.Call) -> dict[str, Any]:
    """Give the extra specs."""
    return {"extra_specs": dict(flavor.extra_specs)}


def extra_spec(spec: Mapping[str, str], _call: api_call.Call) -> dict[str, str]:
    """Give one extra spec under its key."""
    return dict(spec)


def _page(page: FlavorPage, call: api_call.Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"flavors": rows}
    following = parts.next_link(call, rows, page.limit, page.flavors[-1].id if page.flavors else "")
    if following:
        content["flavors_links"] = following
    return content


def _brief(flavor: model.Flavor, call: api_call.Call) -> dict[str, Any]:
    row: dict[str, Any] = {"id": flavor.id, "name": flavor.name, "links": parts.links(call, f"/flavors/{flavor.id}")}
    if call.version >= (2, 55):
        row["description"] = flavor.description
    return row


def _full(flavor: model.Flavor, call: api_call.Call) -> dict[str, Any]:
    row = _brief(flavor, call)
    row |= {
        "ram": flavor.memory_mib,
        "vcpus": flavor.vcpus,
        "disk": flavor.root_gib,
        # An empty text is Nova's way to say none before 2.75.
        "swap": flavor.swap_mib if flavor.swap_mib or call.version >= (2, 75) else "",
        "rxtx_factor": flavor.rxtx_factor,
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib,
        "OS-FLV-DISABLED:disabled": flavor.is_disabled,
        "os-flavor-access:is_public": flavor.is_public,
    }
    if call.version >= (2, 61) and call.allows(policies.INDEX):
        row["extra_specs"] = dict(flavor.extra_specs)
    return row
