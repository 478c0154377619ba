# SPDX-License-Identifier: Apache-2.0
"""Flavors, which no guest here was made from: each is told from the guest's memory, vCPUs and disk. Pure."""

from __future__ import annotations

import re
from typing import Any

from wherry.api import call as api_call

_ID = re.compile(r"c(\d{1,9})-m(\d{1,9})-d(\d{1,9})")


def flavor_id(memory_mib: int, vcpus: int, root_gib: int) -> str:
    """Give the id, which is also the name and holds everything about it."""
    return f"c{vcpus}-m{memory_mib}-d{root_gib}"


def parse_id(text: str) -> tuple[int, int, int] | None:
    """Give memory in MiB, vCPUs and disk in GiB of an id; None when it is none of ours."""
    match = _ID.fullmatch(text)
    return None if match is None else (int(match[2]), int(match[1]), int(match[3]))


def linked(call: api_call.Call, identity: str) -> dict[str, Any]:
    """Give the form that servers show below 2.47."""
    return {"id": identity, "links": [{"rel": "bookmark", "href": call.address.bookmark(f"/flavors/{identity}")}]}


def embedded(memory_mib: int, vcpus: int, root_gib: int, *, shows_extra_specs: bool) -> dict[str, Any]:
    """Give the form that servers show from 2.47 on."""
    flavor: dict[str, Any] = {
        "vcpus": vcpus,
        "ram": memory_mib,
        "disk": root_gib,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor_id(memory_mib, vcpus, root_gib),
    }
    if shows_extra_specs:
        flavor["extra_specs"] = {}
    return flavor
