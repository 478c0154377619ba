# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of transfers: passes, convergence, sharing, counters, all on links of 100 MiB a second."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.drivers.simulated import two_hosts
from tests.unit.drivers.simulated.two_hosts import MIB, TwoHosts
from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated.transfer import DEVICE_STATE_BYTES
from wherry.model import guest

_S = guest.GuestState
#: Seconds that the devices' state takes at switch-over.
_DEVICES = DEVICE_STATE_BYTES / MIB / 100


def test_an_idle_guest_takes_its_memory_over_the_bandwidth() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(uuid)
        assert await hosts.until_ended(uuid) == pytest.approx(10 + _DEVICES, abs=1e-9)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.RUNNING)
        counters = await hosts.counters(uuid)
        assert counters.memory_processed_bytes == 1000 * MIB + DEVICE_STATE_BYTES
        assert counters.memory_remaining_bytes == 0
        assert counters.downtime_ms == round(_DEVICES * 1000) or counters.downtime_ms == 1

    two_hosts.run(body)


def test_passes_shrink_by_the_ratio_of_dirty_rate_to_bandwidth() -> None:
    """1000 MiB at 100 MiB/s while 50 MiB/s are dirtied: 10 s, 5 s, 2.5 s, … until what is left fits into the downtime."""

    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=50).uuid
        await hosts.open()
        await hosts.start(uuid, downtime_ms=1300)
        seen = []
        for at in (1, 9, 11, 16, 18):
            await hosts.clock.sleep(at - hosts.clock.monotonic())
            counters = await hosts.counters(uuid)
            seen.append((counters.iteration, counters.memory_remaining_bytes // MIB, counters.memory_processed_bytes // MIB))
        # The passes begin at 0, 10 and 15 s with 1000, 500 and 250 MiB, and one of 125 MiB at 17.5 s, which fits into 1.3 s.
        assert seen == [(1, 900, 100), (1, 100, 900), (2, 400, 1100), (3, 150, 1600), (4, 75, 1800)]
        assert (await hosts.counters(uuid)).expected_downtime_ms == pytest.approx(1250, abs=3)
        assert (await hosts.counters(uuid)).dirty_bytes_per_second == 50 * MIB
        assert await hosts.states(uuid) == (_S.PAUSED_FOR_SWITCH_OVER, _S.PAUSED_FOR_SWITCH_OVER)
        assert await hosts.until_ended(uuid) == pytest.approx(18.75 + _DEVICES, abs=1e-6)
        assert (await hosts.counters(uuid)).downtime_ms == pytest.approx(1250, abs=3)

    two_hosts.run(body)


def test_a_guest_that_dirties_faster_than_the_link_never_ends_and_its_counters_only_grow() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=150, working_set_mib=400).uuid
        await hosts.open()
        await hosts.start(uuid, downtime_ms=500)
        processed, iteration = -1, 0
        for _ in range(500):
            await hosts.clock.sleep(1.7)
            counters = await hosts.counters(uuid)
            assert counters.memory_processed_bytes > processed
            assert counters.iteration >= iteration
            assert 0 < counters.memory_remaining_bytes <= counters.memory_total_bytes
            processed, iteration = counters.memory_processed_bytes, counters.iteration
        # No more than the working set is dirty at the end of a pass, and that takes longer than is allowed.
        assert counters.expected_downtime_ms == 4000
        assert processed > counters.memory_total_bytes, "pages are sent again"
        assert await hosts.states(uuid) == (_S.RUNNING, _S.PAUSED_FOR_SWITCH_OVER)

    two_hosts.run(body)


def test_a_working_set_that_fits_into_the_downtime_ends_any_dirtying() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=5000, working_set_mib=40).uuid
        await hosts.open()
        await hosts.start(uuid, downtime_ms=400)
        assert await hosts.until_ended(uuid) == pytest.approx(10.4 + _DEVICES, abs=1e-6)

    two_hosts.run(body)


def test_a_longer_downtime_ends_a_copy_in_the_middle_of_a_pass() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=200, working_set_mib=300).uuid
        await hosts.open()
        await hosts.start(uuid, downtime_ms=100)
        await hosts.clock.sleep(100.5)
        assert (await hosts.states(uuid))[0] is _S.RUNNING
        await hosts.drivers["a"].tune_transfer(uuid, downtime_ms=6000)
        assert (await hosts.states(uuid))[0] is _S.PAUSED_FOR_SWITCH_OVER
        assert await hosts.until_ended(uuid) < 107

    two_hosts.run(body)


def test_a_pause_ends_the_dirtying_and_the_guest_runs_at_the_destination() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=200).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.clock.sleep(12)
        await hosts.drivers["a"].pause_guest(uuid)
        # At 12 s 800 MiB of the second pass are left and 400 MiB are dirtied anew: 12 s more.
        assert await hosts.until_ended(uuid) == pytest.approx(24 + _DEVICES, abs=1e-6)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.RUNNING)

    two_hosts.run(body)


def test_bandwidth_changes_count_from_their_moment() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(uuid, bandwidth_mib_per_s=10)
        await hosts.clock.sleep(40)
        assert (await hosts.counters(uuid)).memory_bytes_per_second == 10 * MIB
        await hosts.drivers["a"].tune_transfer(uuid, bandwidth_mib_per_s=60)
        await hosts.clock.sleep(5)
        hosts.hand.change_link("a", mib_per_s=30)
        # 400 MiB in 40 s, 300 in 5 s, 300 at what the link has now.
        assert await hosts.until_ended(uuid) == pytest.approx(55 + _DEVICES * 100 / 30, abs=1e-6)

    two_hosts.run(body)


def test_transfers_share_the_uplink_and_take_over_what_becomes_free() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        hosts.add_host("c")
        small = hosts.world.add_guest("a", "small", memory_mib=500).uuid
        large = hosts.world.add_guest("a", "large", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(small, destination="b")
        await hosts.start(large, destination="c")
        assert await hosts.until_ended(small) == pytest.approx(10 + 2 * _DEVICES, abs=0.01)
        # 500 MiB are left of it then, at the whole bandwidth.
        assert await hosts.until_ended(large) == pytest.approx(15 + 2 * _DEVICES, abs=0.01)

    two_hosts.run(body)


def test_a_core_link_holds_all_transfers_together() -> None:
    async def body() -> None:
        hosts = TwoHosts(core_mib_per_s=100)
        hosts.add_host("c")
        hosts.add_host("d")
        first = hosts.world.add_guest("a", "first", memory_mib=500).uuid
        second = hosts.world.add_guest("c", "second", memory_mib=500).uuid
        await hosts.open()
        await hosts.start(first)
        await hosts.start(second, source="c", destination="d")
        assert await hosts.until_ended(first) == pytest.approx(10, abs=0.02)
        assert not (await hosts.read(second, "c")).is_active

    two_hosts.run(body)


def test_disks_go_first_and_have_counters_of_their_own() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        disk = guest.Disk(
            name="vda", kind=guest.DiskKind.FILE, source="/var/lib/wherry/instances/g.raw", capacity_bytes=1000 * MIB, cache="none"
        )
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=1, disks=(disk,)).uuid
        await hosts.open()
        await hosts.start(uuid)
        await hosts.clock.sleep(4)
        counters = await hosts.counters(uuid)
        assert (counters.disk_total_bytes, counters.disk_processed_bytes, counters.disk_remaining_bytes) == (
            1000 * MIB,
            400 * MIB,
            600 * MIB,
        )
        assert (counters.memory_processed_bytes, counters.memory_remaining_bytes) == (0, 1000 * MIB)
        await hosts.clock.sleep(10)
        counters = await hosts.counters(uuid)
        assert (counters.disk_remaining_bytes, counters.memory_processed_bytes) == (0, 400 * MIB)
        assert await hosts.until_ended(uuid) == pytest.approx(20.1, abs=0.05)

    two_hosts.run(body)


def test_post_copy_moves_the_guest_at_once_and_sends_the_rest_once() -> None:
    async def body() -> None:
        hosts = TwoHosts()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000, dirty_mib_per_s=500).uuid
        await hosts.open()
        await hosts.start(uuid, permit_post_copy=True)
        await hosts.clock.sleep(14)
        await hosts.drivers["a"].start_post_copy(uuid)
        assert await hosts.states(uuid) == (_S.POST_COPY, _S.POST_COPY)
        assert (await hosts.read(uuid)).is_post_copy
        with pytest.raises(errors.HypervisorFailure):
            await hosts.drivers["a"].abort_transfer(uuid)
        # At 14 s, 600 MiB of the second pass are left, and all 1000 are dirty again: never more than all is sent.
        counters = await hosts.counters(uuid)
        assert counters.memory_remaining_bytes <= counters.memory_total_bytes
        assert await hosts.until_ended(uuid) == pytest.approx(24, abs=0.01)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.RUNNING)

    two_hosts.run(body)


def test_zero_copy_moves_a_guest_in_no_time() -> None:
    async def body() -> None:
        hosts = TwoHosts(is_instant=True)
        uuid = hosts.world.add_guest("a", "g", memory_mib=100_000, dirty_mib_per_s=500).uuid
        await hosts.open()
        await hosts.start(uuid)
        assert hosts.clock.monotonic() == 0
        assert await hosts.states(uuid) == (_S.ABSENT, _S.RUNNING)
        transfer = await hosts.read(uuid)
        assert not transfer.is_active
        assert transfer.progress is not None and transfer.progress.memory_remaining_bytes == 0
        assert transfer.progress.memory_processed_bytes == transfer.progress.memory_total_bytes

    two_hosts.run(body)


def test_time_runs_faster_by_the_factor() -> None:
    async def body() -> None:
        hosts = TwoHosts(time_factor=10)
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        await hosts.start(uuid)
        assert await hosts.until_ended(uuid) == pytest.approx(1, abs=0.01)
        assert (await hosts.counters(uuid)).elapsed_ms == pytest.approx(10_000, abs=10)

    two_hosts.run(body)


def test_the_same_seed_gives_the_same_run_to_the_last_signal() -> None:
    def once(seed: int) -> list[tuple[float, base.Signal]]:
        seen: list[tuple[float, base.Signal]] = []

        async def body() -> None:
            hosts = TwoHosts(seed=seed)
            uuids = [
                hosts.world.add_guest("a", f"g{number}", memory_mib=300 + 10 * number, dirty_mib_per_s=3 * number).uuid
                for number in range(8)
            ]
            await hosts.open()
            for name in ("a", "b"):
                hosts.drivers[name].subscribe(lambda signal: seen.append((hosts.clock.monotonic(), signal)))
            for uuid in uuids:
                await hosts.start(uuid, downtime_ms=50)
                await hosts.clock.sleep(0.3)
            await hosts.clock.sleep(300)

        two_hosts.run(body)
        return seen

    first = once(1)
    assert len(first) > 50
    assert first == once(1)
    assert {signal.instance_uuid for _, signal in first}.isdisjoint({signal.instance_uuid for _, signal in once(2)})


def test_nothing_is_scheduled_while_nothing_moves() -> None:
    """Ten thousand idle guests cost no timer: time only passes because the test sleeps."""

    async def body() -> None:
        hosts = TwoHosts()
        for number in range(10_000):
            hosts.world.add_guest("a", f"g{number}", dirty_mib_per_s=100)
        await hosts.open()
        fired: list[str] = []
        hosts.drivers["a"].subscribe(lambda signal: fired.append(signal.detail))
        await hosts.clock.sleep(1_000)
        assert fired == []
        assert len(await hosts.drivers["a"].describe_guests()) == 10_000

    two_hosts.run(body)


def test_it_runs_in_real_time_too() -> None:
    """The product's loop: ten simulated seconds in a hundredth of one."""

    async def body() -> None:
        hosts = TwoHosts(time_factor=1000)
        hosts.clock = wherry_clock.LoopClock()
        uuid = hosts.world.add_guest("a", "g", memory_mib=1000).uuid
        await hosts.open()
        arrived = asyncio.Event()
        hosts.drivers["a"].subscribe(lambda signal: arrived.set() if signal.kind is base.SignalKind.TRANSFER_ENDED else None)
        await hosts.start(uuid)
        assert (await hosts.read(uuid)).is_active
        await asyncio.wait_for(arrived.wait(), 10)
        assert await hosts.states(uuid) == (_S.ABSENT, _S.RUNNING)
        assert (await hosts.counters(uuid)).elapsed_ms == pytest.approx(10_000, abs=50)

    asyncio.run(body())
