# SPDX-License-Identifier: Apache-2.0
"""A host that had let go of its probes forgot so when its machine lost power: the notes of a migration that went elsewhere never ended."""

from __future__ import annotations

import pathlib

import pytest

from tests.functional.flow import asking, conftest
from wherry.agent import storage
from wherry.drivers import simulated
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)


class Disk:
    """Knows of each note of one host's agent what a power failure would leave of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        self._durable: dict[pathlib.Path, bytes] = {}
        whole = storage.FileStorage.write

        async def write(self_: storage.FileStorage, name: str, data: bytes, *, is_synced: bool) -> None:
            await whole(self_, name, data, is_synced=is_synced)
            if is_synced and self_._directory.name == host:
                self._durable[self_._path(name)] = data

        monkeypatch.setattr(storage.FileStorage, "write", write)

    def lose_power(self) -> int:
        """Put every note back to what was last synced of it; give how many there are."""
        for path, data in self._durable.items():
            path.write_bytes(data)
        return len(self._durable)


async def test_what_it_let_go_of_stays_let_go(
    make_cloud: clouds.MakeCloud, world: simulated.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first destination is full, is checked and let go of, and loses its power before the migration leaves the queue for another."""
    world.add_guest("h1", "g2", memory_mib=64, disks=(conftest.disk("/shared/g2.raw"),))
    world.add_guest("h3", "g3", memory_mib=4096)
    hand = simulated.Disturbances(world)
    hand.change_link("h3", mib_per_s=50.0)
    # Heavier by far, so that it is everybody's first choice.
    world.hosts["h2"].memory_mib *= 4
    disk = Disk(monkeypatch, "h2")
    async with make_cloud(
        world,
        DEFAULT={"max_concurrent_live_migrations": 0, "max_concurrent_incoming_live_migrations": 1},
        conductor={"check_ttl_seconds": 5.0},
        scheduler={"migrations_weight_multiplier": 0.0},
    ) as cloud:
        before = invariants.snapshot(world)
        assert (await cloud.live_migrate("g3", host="h2")).status_code == 202
        await asking.until_status(cloud, "g3", asking.Status.RUNNING)
        released: list[bool] = []
        asking.at_message(cloud, "ReleaseCheck", lambda: released.append(True), host="h2")
        assert (await cloud.live_migrate("g2")).status_code == 202
        assert (await asking.until_status(cloud, "g2", asking.Status.QUEUED)).dest_compute == "h2"
        await cloud.until(lambda: released)
        # It is done and answered by then.
        await cloud.clock.sleep(1.0)
        cloud.kill_agent("h2")
        assert disk.lose_power()
        await cloud.start_agent("h2")
        record = await asking.until_ended(cloud, "g2")
        assert (record.status, record.dest_compute) == (asking.Status.COMPLETED, "h3")
        hand.change_link("h3", mib_per_s=20_000.0)
        await invariants.come_to_hold(cloud, before)
