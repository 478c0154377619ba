# SPDX-License-Identifier: Apache-2.0
"""Each reason for which a check says no, provoked; storage in all its treatments; other destinations tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.flow import asking, conftest
from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing import cloud as clouds
from wherry.testing import invariants

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

Status = asking.Status
Spoil = Callable[[simulated.World], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Case:
    slug: str
    #: Fields of the guest `odd` on h1.
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)
    spoil: Spoil = lambda _world: None
    #: What is done once the cloud runs, and everything is registered.
    spoil_later: Spoil = lambda _world: None


def _host(name: str, **fields: Any) -> Spoil:
    def spoil(world: simulated.World) -> None:
        for field, value in fields.items():
            setattr(world.hosts[name], field, value)

    return spoil


def _old(world: simulated.World) -> None:
    world.hosts["h2"].hypervisor_version = 5_002_000


def _namesake(world: simulated.World) -> None:
    world.add_guest("h2", "odd", uuid="c0ffee00-0000-4000-8000-000000000000", memory_mib=128)


def _twin(world: simulated.World) -> None:
    uuid = world.uuid_for("guest", "odd")
    world.hosts["h2"].guests[uuid] = type(world.hosts["h1"].guests[uuid])(world.hosts["h1"].guests[uuid].spec, guest.GuestState.SHUT_OFF)


def _cut(world: simulated.World) -> None:
    simulated.Disturbances(world).cut_link("h2")


def _own(gib: int = 1, **fields: Any) -> dict[str, Any]:
    return {"disks": (conftest.disk("/own/odd.raw", gib, **fields),)}


def _shared(**fields: Any) -> dict[str, Any]:
    return {"disks": (conftest.disk("/shared/odd.raw", **fields),)}


def _incoherent(world: simulated.World) -> None:
    world.stores["shared"].is_coherent = False


def _full(world: simulated.World) -> None:
    world.hosts["h2"].stores["/own"].used_bytes = 1023 << 30


def _profile(name: str) -> Spoil:
    return _host("h2", profile=simulated.PROFILES[name])


_CASES = (
    _Case(slug="insufficient_memory", fields={"memory_mib": 60_000}, spoil=_host("h2", memory_mib=30_000)),
    _Case(slug="insufficient_vcpus", fields={"vcpus": 16}, spoil=_host("h2", vcpus=2)),
    _Case(slug="hypervisor_type_mismatch", spoil=_profile("vmware")),
    _Case(slug="hypervisor_too_old", spoil=_old),
    _Case(slug="cpu_incompatible", fields={"cpu_level": 3}),
    _Case(slug="domain_present", spoil=_namesake),
    _Case(slug="domain_present", spoil_later=_twin),
    _Case(slug="machine_type_unsupported", fields={"machine_type": "s390-ccw"}),
    _Case(slug="network_missing", fields={"interfaces": (guest.Interface(kind="bridge", name="br-missing"),)}),
    _Case(slug="network_missing", fields={"interfaces": (guest.Interface(kind="network", name="lan"),)}),
    _Case(slug="media_unreadable", fields={"disks": (conftest.disk("/own/cd.iso", device="cdrom", read_only=True),)}),
    _Case(slug="migration_address_unreachable", spoil_later=_cut),
    _Case(slug="passthrough_device", fields={"passthrough_devices": ("pci_0000_01_00_0",)}),
    _Case(slug="memory_encrypted", fields={"memory_encryption": "sev"}),
    _Case(slug="job_active", fields={"active_job": "backup"}),
    _Case(slug="snapshots_present", fields={"snapshot_count": 2}),
    _Case(slug="unsafe_disk_cache", fields=_shared(cache="writeback"), spoil=_incoherent),
    _Case(slug="storage_shared", fields=_shared(), asked={"block_migration": True}),
    _Case(slug="storage_not_shared", fields=_own(), asked={"block_migration": False}),
    _Case(
        slug="insufficient_space",
        fields=_own(4),
        asked={"block_migration": True, "disk_over_commit": False, "version": "2.24"},
        spoil=_full,
    ),
    _Case(slug="destination_down", spoil_later=lambda _world: None, asked={"is_away": True}),
    _Case(slug="destination_disabled", asked={"is_disabled": True}),
)


@pytest.mark.parametrize("case", _CASES, ids=[f"{number}-{case.slug}" for number, case in enumerate(_CASES)])
async def test_a_check_says_no(make_cloud: clouds.MakeCloud, world: simulated.World, case: _Case) -> None:
    """The reason and its remedy are on the record, the event of that check ends in error, and nothing was changed anywhere."""
    world.add_guest("h1", "odd", **({"memory_mib": 512} | case.fields))
    case.spoil(world)
    asked = dict(case.asked)
    async with make_cloud(world) as cloud:
        case.spoil_later(world)
        if asked.pop("is_away", False):
            await cloud.stop_agent("h2")
        if asked.pop("is_disabled", False):
            await cloud.store.run(lambda uow: uow.hosts.update_service("h2", is_disabled=True))
        before = invariants.snapshot(world)
        answer = await cloud.live_migrate("odd", host="h2", **({"version": "2.84"} | asked))
        record = await asking.until_ended(cloud, "odd")
        assert answer.status_code == (202 if "version" not in asked else 400)
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, case.slug)
        assert record.reason.remedy
        await asking.until_ended(cloud, "odd")
        assert {result for _name, _host, result in await asking.events_of(cloud, "odd")} >= {"Error"}
        await cloud.clock.sleep(1.0)
        # The twin that stands in the way is no migration's doing; its server may well be looked at.
        await invariants.hold(cloud, before, touched=["odd"] if case.spoil_later is _twin else [])
        assert invariants.snapshot(world) == before


_TREATMENTS: tuple[tuple[str, bool | str, bool], ...] = (
    ("/own", True, True),
    ("/own", "auto", True),
    ("/shared", False, False),
    ("/shared", "auto", False),
)


@pytest.mark.parametrize(("directory", "block_migration", "is_copied"), _TREATMENTS)
async def test_disks_are_copied_where_they_are_not_shared(
    make_cloud: clouds.MakeCloud, world: simulated.World, directory: str, block_migration: bool | str, is_copied: bool
) -> None:
    """Detected, not assumed; the counters tell of disk bytes only where there are any."""
    world.add_guest("h1", "disky", memory_mib=512, disks=(conftest.disk(f"{directory}/disky.raw", 2),))
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "disky", host="h2", block_migration=block_migration)
        assert record.status is Status.COMPLETED
        assert record.progress is not None
        assert record.progress.disk_total_bytes == (2 << 30 if is_copied else 0)
        assert world.hosts["h2"].has_file(f"{directory}/disky.raw")
        assert world.hosts["h3"].has_file(f"{directory}/disky.raw") is not is_copied
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize("block_migration", [True, "auto"])
async def test_shared_and_private_disks_together(make_cloud: clouds.MakeCloud, world: simulated.World, block_migration: bool | str) -> None:
    """Only the private one is copied, and there and back again leaves one copy more at each host."""
    disks = (conftest.disk("/shared/mix.raw"), conftest.disk("/own/mix.raw", name="vdb"))
    world.add_guest("h1", "mix", memory_mib=512, disks=disks)
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "mix", host="h2", block_migration=block_migration)
        assert record.status is Status.COMPLETED
        await invariants.come_to_hold(cloud, before)


# ------------------------------------------------- other destinations tried


async def _tries(cloud: clouds.Cloud) -> list[tuple[str, str]]:
    name = "compute_check_can_live_migrate_destination"
    return [(host, result) for event, host, result in await asking.events_of(cloud, "odd") if event == name]


async def test_the_second_destination_is_taken(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """The first says no in its own event row, the second takes the guest; what the first would have held is free."""
    world.add_guest("h1", "odd", memory_mib=512, cpu_level=1, machine_type="rare")
    world.hosts["h3"].machine_types |= {"rare"}
    world.hosts["h2"].memory_mib *= 2
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "odd")
        assert (record.status, record.dest_compute) == (Status.COMPLETED, "h3")
        assert await _tries(cloud) == [("h2", "Error"), ("h3", "Success")]
        await invariants.come_to_hold(cloud, before)


@pytest.mark.parametrize(
    ("limit", "slug", "tries"), [(0, "max_retries_exceeded", 1), (1, "max_retries_exceeded", 2), (-1, "no_valid_host", 2)]
)
async def test_no_more_destinations_than_allowed_are_tried(
    make_cloud: clouds.MakeCloud, world: simulated.World, limit: int, slug: str, tries: int
) -> None:
    """migrate_max_retries counts those after the first; without a limit every one is asked, and the end names each one's reason."""
    world.add_guest("h1", "odd", memory_mib=512, machine_type="rare")
    if limit >= 0:
        world.add_host("h4", stores=dict(world.hosts["h2"].stores))
    async with make_cloud(world, DEFAULT={"migrate_max_retries": limit}) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "odd")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, slug)
        assert "machine type rare" in record.reason.message
        tried = await _tries(cloud)
        assert [result for _host, result in tried] == ["Error"] * tries
        assert record.dest_compute == tried[-1][0]
        await invariants.come_to_hold(cloud, before)


async def test_a_named_destination_is_not_replaced(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """It said no, and another would have taken the guest: the request named it."""
    world.add_guest("h1", "odd", memory_mib=512, machine_type="rare")
    world.hosts["h3"].machine_types |= {"rare"}
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        record = await asking.move(cloud, "odd", host="h2")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "machine_type_unsupported")
        assert await _tries(cloud) == [("h2", "Error")]
        await invariants.come_to_hold(cloud, before)


async def test_the_source_is_away(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """A guest can only be sent by its own host: 400 to who waits, and the words of the source."""
    async with make_cloud(world) as cloud:
        before = invariants.snapshot(world)
        cloud.kill_agent("h1")
        await cloud.clock.sleep(90.0)
        answer = await cloud.live_migrate("g1", version="2.30")
        assert answer.status_code == 400
        record = await asking.until_ended(cloud, "g1")
        assert record.reason is not None
        assert (record.status, record.reason.slug) == (Status.ERROR, "source_down")
        await cloud.start_agent("h1")
        await invariants.come_to_hold(cloud, before)
