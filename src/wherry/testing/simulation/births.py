# SPDX-License-Identifier: Apache-2.0
"""Servers of a schedule that are made and deleted through the API, with what is asked of them meanwhile; and the image they are made from.

Draws from a stream of its own, so that what else a seed stands for is as it was without them.
"""

from __future__ import annotations

import datetime
import functools
import pathlib
import random
import tempfile
from typing import Any

import pydantic

from wherry.images import directory
from wherry.model import image
from wherry.testing.simulation import chance as chances

#: The one image that there is.
IMAGE = "00000000-0000-4000-8000-00000000cafe"
#: The smallest flavor that comes with the database.
FLAVOR = "1"
#: Calls of the hypervisor that only these make.
_METHODS = ("build_guest", "build_guest", "destroy_guest")
#: Share of the schedules that have any.
_SHARE = 0.4
_Wanted = list[tuple[float, str, str, dict[str, Any]]]


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    """Make the directory of images once for a process; it goes with the process."""
    made = tempfile.TemporaryDirectory(prefix="wherry-images-")
    content = b"a guest's disk"
    made_at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    one = image.Image(id=IMAGE, name="tiny", size_bytes=len(content), checksum="0" * 64, disk_format="raw", created_at=made_at)
    (pathlib.Path(made.name) / IMAGE).write_bytes(content)
    listed = pydantic.TypeAdapter(dict[str, image.Image]).dump_json({IMAGE: one})
    (pathlib.Path(made.name) / directory.INDEX).write_bytes(listed)
    return made


def images() -> str:
    """Give the directory of images. No part of a schedule: it is another one in each process."""
    return _kept().name


def asked(draw: random.Random, hosts: list[str], guests: list[str], seconds: float) -> _Wanted:
    """Draw what is asked: when, what, of which server, with which keys."""
    found: _Wanted = []
    if draw.random() > _SHARE:
        return found
    for number in range(1, draw.choice((1, 2, 2, 4)) + 1):
        found += life(draw, f"b{number}", hosts, seconds)
    if draw.random() < 0.5:
        found.append((draw.random() * seconds * 0.8, "delete", draw.choice(guests), {}))
    return found


def life(draw: random.Random, name: str, hosts: list[str], seconds: float) -> _Wanted:
    """Draw one server: when it is made, what is asked of it, and whether it is deleted."""
    at = draw.random() * seconds * 0.6
    zone = {"availability_zone": f"nova:{draw.choice(hosts)}"} if draw.random() < 0.3 else {}
    found: _Wanted = [(at, "create", name, zone)]
    for _ in range(draw.choice((0, 1, 2, 3))):
        later = at + draw.random() ** 2 * (seconds - at)
        choices: tuple[tuple[float, tuple[str, dict[str, Any]]], ...] = (
            (4, ("live_migrate", {"version": "2.90"})),
            (2, ("action", {"migrate": {"host": None}})),
            (1, ("action", {"revertResize": None})),
            (1, ("action", {"confirmResize": None})),
            (2, ("power", {"action": draw.choice(("os-stop", "os-start", "pause", "unpause"))})),
            (1, ("abort", {})),
            (0.5, ("reset_state", {})),
        )
        what = chances.weighted(draw, choices)
        found.append((later, what[0], name, what[1]))
    if draw.random() < 0.7:
        # At any moment: also before anything of it is there.
        found.append((at + draw.random() ** 2 * (seconds - at), "delete", name, {}))
    return found


def faults(draw: random.Random, hosts: list[str], seconds: float) -> list[tuple[float, str, float, dict[str, Any]]]:
    """Draw which of their calls fail: from when, at which host, for how long, and how."""
    found = []
    for _ in range(draw.choice((0, 1, 2))):
        keys = {
            "kind": chances.weighted(draw, ((4, "raise"), (3, "delay"), (1, "hang"), (1, "crash"))),
            "method": draw.choice(_METHODS),
            "when": draw.choice(("before", "after")),
            "nth": draw.choice((0, 1, 1, 2)),
            "slug": draw.choice(("build_failed", "hypervisor_failure", "hypervisor_unavailable")),
            "seconds": draw.choice((0.3, 2.0, 12.0)),
        }
        found.append((draw.random() * seconds, draw.choice(hosts), draw.random() ** 2 * 25.0, keys))
    return found
