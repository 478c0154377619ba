# SPDX-License-Identifier: Apache-2.0
"""Availability zones and aggregates. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api.views import parts, services
from wherry.model import host as model


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ShownHost:
    """A host as its zone shows it."""

    host: model.Host
    is_up: bool


def index(shown: Sequence[ShownHost], _call: api_call.Call) -> dict[str, Any]:
    """Give the zones without their hosts."""
    return {"availabilityZoneInfo": [_zone(name, hosts) | {"hosts": None} for name, hosts in _by_zone(shown).items()]}


def detail(shown: Sequence[ShownHost], _call: api_call.Call) -> dict[str, Any]:
    """Give the zones with their hosts."""
    return {
        "availabilityZoneInfo": [
            _zone(name, hosts) | {"hosts": {one.host.name: {services.BINARY: _service(one)} for one in hosts}}
            for name, hosts in _by_zone(shown).items()
        ]
    }


def aggregates(_nothing: object, _call: api_call.Call) -> dict[str, Any]:
    """Give the aggregates."""
    return {"aggregates": []}


def _by_zone(shown: Sequence[ShownHost]) -> dict[str, list[ShownHost]]:
    zones: dict[str, list[ShownHost]] = {}
    for one in shown:
        zones.setdefault(one.host.zone, []).append(one)
    return dict(sorted(zones.items()))


def _zone(name: str, hosts: Sequence[ShownHost]) -> dict[str, Any]:
    # As in Nova: one enabled service makes a zone available, up or not.
    return {"zoneName": name, "zoneState": {"available": any(not one.host.is_disabled for one in hosts)}}


def _service(one: ShownHost) -> dict[str, Any]:
    return {"available": one.is_up, "active": not one.host.is_disabled, "updated_at": parts.stamp(one.host.last_seen_at)}
