# SPDX-License-Identifier: Apache-2.0
"""An agent whose journal's disk was full crashed in whatever it did, and the migration's reason was a traceback."""

from __future__ import annotations

import errno

import pytest

from tests.functional.flow import asking
from wherry.agent import storage
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


class FullDisk:
    """While it is full, notes of one host's agent do not fit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        self.is_full = False
        self.refused = 0
        whole = storage.FileStorage._write

        def write(self_: storage.FileStorage, name: str, data: bytes, *, is_synced: bool) -> None:
            if self.is_full and self_._directory.name == host:
                self.refused += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            whole(self_, name, data, is_synced=is_synced)

        monkeypatch.setattr(storage.FileStorage, "_write", write)


@pytest.mark.parametrize("host", ["h1", "h2"])
async def test_a_check_says_so(make_cloud: clouds.MakeCloud, world: simulated.World, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Nothing was touched, the reason names the journal, and with room again the guest moves."""
    disk = FullDisk(monkeypatch, host)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        disk.is_full = True
        record = await asking.move(cloud, "g1", host="h2")
        assert disk.refused
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (asking.Status.ERROR, "journal_unwritable")
        assert "No space left on device" in record.reason.message
        disk.is_full = False
        assert (await asking.move(cloud, "g1", host="h2")).status is asking.Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("host", ["h1", "h2"])
async def test_a_migration_under_way_is_not_lost(
    make_cloud: clouds.MakeCloud, world: simulated.World, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """The copy ends while nothing can be written: what is left to do waits for room and is then done."""
    disk = FullDisk(monkeypatch, host)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        simulated.Disturbances(world).change_link("h1", mib_per_s=50.0)
        assert (await cloud.live_migrate("g1", host="h2")).status_code == 202
        await asking.until_status(cloud, "g1", asking.Status.RUNNING)
        disk.is_full = True
        await cloud.clock.sleep(120.0)
        assert disk.refused
        # A destination that runs the guest and cannot write so down is owed the rest, and holds nobody up.
        wanted = asking.Status.RUNNING if host == "h1" else asking.Status.COMPLETED
        assert (await asking.migration_of(cloud, "g1")).status is wanted
        disk.is_full = False
        assert (await asking.until_ended(cloud, "g1")).status is asking.Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


async def test_a_deadline_holds(make_cloud: clouds.MakeCloud, world: simulated.World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is aborted before it is written down why; with room again it is, and at once."""
    disk = FullDisk(monkeypatch, "h1")
    world.add_guest("h1", "busy", memory_mib=2048, dirty_mib_per_s=30000.0)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("busy", host="h2", version="2.1000", timeout_seconds=20)).status_code == 202
        await asking.until_status(cloud, "busy", asking.Status.RUNNING)
        disk.is_full = True
        await cloud.clock.sleep(60.0)
        assert (await asking.migration_of(cloud, "busy")).status is asking.Status.RUNNING
        disk.is_full = False
        began = cloud.clock.monotonic()
        ended = await asking.until_ended(cloud, "busy")
        assert cloud.clock.monotonic() - began < 30
        assert (ended.status, ended.reason.slug if ended.reason else "") == (asking.Status.CANCELLED, "deadline")
        await invariants.come_to_hold(cloud, before)
