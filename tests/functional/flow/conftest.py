# SPDX-License-Identifier: Apache-2.0
"""A cloud of three simulated hosts, on virtual time."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import virtual_time


@pytest.fixture
def make_cloud(tmp_path: pathlib.Path) -> clouds.MakeCloud:
    """Start clouds on virtual time; keywords are options by section."""

    @contextlib.asynccontextmanager
    async def make(world: simulated.World, **overrides: dict[str, Any]) -> AsyncIterator[clouds.Cloud]:
        async with clouds.Cloud(world, tmp_path, clock=virtual_time.virtual_clock(), overrides=overrides) as cloud:
            yield cloud

    return make


@pytest.fixture
def world() -> simulated.World:
    """What `three_hosts` makes."""
    return three_hosts()


def three_hosts() -> simulated.World:
    """Three equal hosts with one shared directory and one of their own each, and an idle guest `g1` of 1 GiB on h1, its disk shared."""
    made = simulated.World(clock=virtual_time.virtual_clock())
    shared = made.add_store(simulated.Store("shared"))
    for name in ("h1", "h2", "h3"):
        made.add_host(name, stores={"/shared": shared, "/own": simulated.Store(f"{name}:own")}, vcpus=16, memory_mib=65_536)
    made.add_guest("h1", "g1", memory_mib=1024, vcpus=1, disks=(disk("/shared/g1.raw"),))
    return made


def disk(path: str, gib: int = 1, **fields: Any) -> guest.Disk:
    """Give a disk of a guest that is a file."""
    return guest.Disk(name=fields.pop("name", "vda"), kind=guest.DiskKind.FILE, source=path, capacity_bytes=gib << 30, **fields)
