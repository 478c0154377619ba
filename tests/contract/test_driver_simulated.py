# SPDX-License-Identifier: Apache-2.0
"""The simulated driver passes the contract suite, once as each hypervisor that it pretends to be."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wherry import errors
from wherry.drivers import base, simulated
from wherry.model import guest, image, migration
from wherry.testing import driver_contract, virtual_time

pytestmark = [pytest.mark.contract, pytest.mark.virtual_time(limit_seconds=3600)]

_PRIVATE = "/private"
_SHARED = "/shared"
_MIB = 1 << 20


class SimulatedHarness(driver_contract.Harness):
    """Two hosts of a world made for one test, on virtual time."""

    slow_mib_per_s = 20
    poll_seconds = 0.25

    def __init__(self, profile: simulated.Profile) -> None:
        super().__init__()
        self.clock = virtual_time.virtual_clock()
        self.capabilities = profile.capabilities
        self.world = simulated.World("contract", clock=self.clock)
        self.hand = simulated.Disturbances(self.world)
        shared = self.world.add_store(simulated.Store("shared"))
        for name in ("source", "destination"):
            self.world.add_host(name, profile=profile, stores={_SHARED: shared, _PRIVATE: simulated.Store(f"{name}:private")})
        self.source = base.HostSettings(name="source", connection_uri=self.world.uri("source"))
        self.destination = base.HostSettings(name="destination", connection_uri=self.world.uri("destination"))
        self._numbers = itertools.count()

    def new_driver(self, settings: base.HostSettings) -> base.HypervisorDriver:
        return simulated.SimulatedDriver(self.world, settings)

    async def create_guest(self, wish: driver_contract.GuestWish) -> str:
        name = f"guest-{next(self._numbers)}"
        directory = {driver_contract.Storage.SHARED: _SHARED, driver_contract.Storage.PRIVATE: _PRIVATE}.get(wish.storage)
        disk = guest.Disk(name="vda", kind=guest.DiskKind.FILE, source=f"{directory}/{name}.raw", capacity_bytes=64 * _MIB, cache="none")
        spec = self.world.add_guest(
            "source",
            name,
            state=guest.GuestState.PAUSED if wish.is_paused else guest.GuestState.RUNNING,
            memory_mib=256,
            dirty_mib_per_s=100.0 if wish.load is driver_contract.Load.DIRTYING else 0.1,
            disks=(disk,) if directory else (),
        )
        return spec.uuid

    async def snapshot(self, settings: base.HostSettings) -> Any:
        host = self.world.hosts[settings.name]
        guests = {uuid: (local.spec, local.state, local.is_incoming) for uuid, local in host.guests.items()}
        return guests, {path: dict(store.files) for path, store in host.stores.items()}

    async def files(self, settings: base.HostSettings) -> frozenset[str]:
        return frozenset(f"{_PRIVATE}/{name}" for name in self.world.hosts[settings.name].stores[_PRIVATE].files)

    async def place_file(self, settings: base.HostSettings) -> str:
        self.world.hosts[settings.name].stores[_PRIVATE].add("somebody-elses", _MIB)
        return f"{_PRIVATE}/somebody-elses"

    async def image(self) -> tuple[image.Image, str]:
        created_at = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
        made = image.Image(id="1", name="tiny", size_bytes=_MIB, checksum="", disk_format="raw", created_at=created_at)
        return made, ""

    async def start_and_kill_client(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        # Dropped without a word: nothing of the driver object is called again.
        client = self.new_driver(self.source)
        await client.open()
        await client.start_transfer(task, plan, options)

    async def kill_daemon(self, settings: base.HostSettings) -> None:
        self.hand.kill_daemon(settings.name)

    async def start_daemon(self, settings: base.HostSettings) -> None:
        self.hand.start_daemon(settings.name)

    async def stop_daemon(self, settings: base.HostSettings) -> None:
        self.hand.silence_daemon(settings.name)

    async def continue_daemon(self, settings: base.HostSettings) -> None:
        self.hand.start_daemon(settings.name)

    async def destroy_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        self.hand.destroy_guest(settings.name, instance_uuid)

    async def pause_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        self.hand.pause_guest(settings.name, instance_uuid)

    async def resume_guest(self, settings: base.HostSettings, instance_uuid: str) -> None:
        self.hand.resume_guest(settings.name, instance_uuid)

    async def cut_link(self) -> None:
        self.hand.cut_link("source")

    async def restore_link(self) -> None:
        self.hand.restore_link("source")

    async def break_post_copy(self, instance_uuid: str) -> None:
        self.hand.break_post_copy(instance_uuid)

    async def lose_closing_reply(self, instance_uuid: str) -> None:
        self.hand.lose_closing_reply(instance_uuid)

    async def clean(self) -> None:
        """Nothing is left of a world that nobody looks at."""


@pytest.fixture(params=list(simulated.PROFILES.values()), ids=list(simulated.PROFILES))
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedHarness]:
    bound = SimulatedHarness(request.param)
    await bound.open()
    yield bound
    await bound.close()


class TestSimulatedDriver(driver_contract.DriverContract):
    """The whole suite."""


async def test_a_profile_without_live_migration_sends_nothing() -> None:
    """The one flag that every profile has is held both ways too."""
    profile = simulated.PROFILES["libvirt"]
    capabilities = dataclasses.replace(profile.capabilities, live_migration=False)
    bound = SimulatedHarness(dataclasses.replace(profile, capabilities=capabilities))
    await bound.open()
    move = driver_contract.Move(bound, await bound.create_guest(driver_contract.GuestWish()))
    with pytest.raises(errors.CapabilityMissing):
        await move.check()
    with pytest.raises(errors.Unsupported):
        await move.start(move.slowly())
    assert (await move.sides()).source is guest.GuestState.RUNNING
    await bound.close()
