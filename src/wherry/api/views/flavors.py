# SPDX-License-Identifier: Apache-2.0
"""Flavors, which no guest here was made from: each is told from the guest's memory, vCPUs and disk. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts
from wherry.policies import servers as policies

_ID = re.compile(r"c(\d{1,9})-m(\d{1,9})-d(\d{1,9})")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flavor:
    """One size of a server."""

    memory_mib: int
    vcpus: int
    root_gib: int

    @property
    def id(self) -> str:
        """The id, which is also the name and holds everything about it."""
        return f"c{self.vcpus}-m{self.memory_mib}-d{self.root_gib}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FlavorPage:
    """What the list handler gives."""

    flavors: Sequence[Flavor]
    limit: int


def parse_id(text: str) -> Flavor | None:
    """Give the flavor of an id; None when it is none of ours."""
    match = _ID.fullmatch(text)
    return None if match is None else Flavor(vcpus=int(match[1]), memory_mib=int(match[2]), root_gib=int(match[3]))


def linked(call: api_call.Call, flavor: Flavor) -> dict[str, Any]:
    """Give the form that servers show below 2.47."""
    return {"id": flavor.id, "links": [{"rel": "bookmark", "href": call.address.bookmark(f"/flavors/{flavor.id}")}]}


def embedded(flavor: Flavor, *, shows_extra_specs: bool) -> dict[str, Any]:
    """Give the form that servers show from 2.47 on."""
    content: dict[str, Any] = {
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mib,
        "disk": flavor.root_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.id,
    }
    if shows_extra_specs:
        content["extra_specs"] = {}
    return content


def index(page: FlavorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the short list."""
    return _page(page, call, [_brief(flavor, call) for flavor in page.flavors])


def detail(page: FlavorPage, call: api_call.Call) -> dict[str, Any]:
    """Give the long list."""
    return _page(page, call, [_full(flavor, call) for flavor in page.flavors])


def show(flavor: Flavor, call: api_call.Call) -> dict[str, Any]:
    """Give one flavor."""
    return {"flavor": _full(flavor, call)}


def extra_specs(_flavor: Flavor, _call: api_call.Call) -> dict[str, Any]:
    """Give the extra specs, of which there are none."""
    return {"extra_specs": {}}


def _page(page: FlavorPage, call: api_call.Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"flavors": rows}
    following = parts.next_link(call, rows, page.limit, page.flavors[-1].id if page.flavors else "")
    if following:
        content["flavors_links"] = following
    return content


def _brief(flavor: Flavor, call: api_call.Call) -> dict[str, Any]:
    row: dict[str, Any] = {"id": flavor.id, "name": flavor.id, "links": parts.links(call, f"/flavors/{flavor.id}")}
    if call.version >= (2, 55):
        row["description"] = None
    return row


def _full(flavor: Flavor, call: api_call.Call) -> dict[str, Any]:
    row = _brief(flavor, call)
    row |= {
        "ram": flavor.memory_mib,
        "vcpus": flavor.vcpus,
        "disk": flavor.root_gib,
        # Nova's way to say none before 2.75.
        "swap": 0 if call.version >= (2, 75) else "",
        "rxtx_factor": 1.0,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
    }
    if call.version >= (2, 61) and call.allows(policies.FLAVOR_EXTRA_SPECS):
        row["extra_specs"] = {}
    return row
