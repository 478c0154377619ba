# SPDX-License-Identifier: Apache-2.0
"""What several views are made of: times, host ids, links and links to the next page. Knows no resource."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import TypeVar

from wherry.api import call as api_call

T = TypeVar("T")

#: What is left of an ISO time without its "+00:00". strftime takes thrice as long.
_WITHOUT_ZONE = -6


def stamp(time: datetime.datetime) -> str:
    """Write a time as Nova does almost everywhere: microseconds, no zone, meaning UTC."""
    return time.astimezone(datetime.UTC).isoformat(timespec="microseconds")[:_WITHOUT_ZONE]


def stamp_or_none(time: datetime.datetime | None) -> str | None:
    return None if time is None else stamp(time)


def second(time: datetime.datetime) -> str:
    """Write a time as Nova does for a server's created and updated: whole seconds and a Z."""
    return time.astimezone(datetime.UTC).isoformat(timespec="seconds")[:_WITHOUT_ZONE] + "Z"


def host_id(project_id: str, host: str | None) -> str:
    """Give the id under which a project sees a host: the same for its servers there, telling nothing of the host's name."""
    return hashlib.sha224(f"{project_id}{host}".encode()).hexdigest() if host else ""


def links(call: api_call.Call, path: str) -> list[dict[str, str]]:
    """Give the two links that most resources have."""
    return [{"rel": "self", "href": call.address.self_link(path)}, {"rel": "bookmark", "href": call.address.bookmark(path)}]


def next_link(call: api_call.Call, shown: Sequence[T], limit: int, marker: str) -> list[dict[str, str]]:
    """Give the link to the next page, which as in Nova is there whenever this page is full."""
    if not shown or len(shown) < limit:
        return []
    return [{"rel": "next", "href": call.address.next_page(call.query.values, marker)}]
