# SPDX-License-Identifier: Apache-2.0
"""A post-copy that libvirt calls failed: it flows, or its source has not noticed, or it is what it is called."""

from __future__ import annotations

import pytest

from wherry import clock
from wherry.config import libvirt as libvirt_config
from wherry.drivers.libvirt import job, post_copy
from wherry.model import guest

pytestmark = [pytest.mark.unit, pytest.mark.virtual_time(limit_seconds=600)]
_S = guest.GuestState
_MIB = 1 << 20


def _seen(mib: float, state: guest.GuestState = _S.POST_COPY_FAILED) -> post_copy.Look:
    return post_copy.Look(job.Job(name=job.MIGRATION_OUT, statistics={"memory_processed": int(mib * _MIB)}), state)


def _failures(*, idle: float = 2.0, stuck: float = 10.0) -> post_copy.Failures:
    section = libvirt_config.LibvirtSection(live_migration_post_copy_idle_seconds=idle, live_migration_post_copy_stuck_seconds=stuck)
    return post_copy.Failures(section, clock.LoopClock())


async def _watch(failures: post_copy.Failures, *, seconds: int, mib_per_s: float, begun_at_mib: float = 0.0) -> list[guest.GuestState]:
    states = []
    for second in range(seconds):
        states.append(failures.corrected("one", _seen(begun_at_mib + second * mib_per_s)).state)
        await clock.LoopClock().sleep(1.0)
    return states


async def test_what_the_buffers_still_hold_is_no_flow() -> None:
    failures = _failures()
    assert set(await _watch(failures, seconds=4, mib_per_s=1)) == {_S.POST_COPY_FAILED}
    assert set(await _watch(failures, seconds=10, mib_per_s=0, begun_at_mib=3)) == {_S.POST_COPY_FAILED}


async def test_memory_that_goes_on_flowing_is_a_post_copy_under_way_until_it_stops() -> None:
    failures = _failures(idle=2.5)
    states = await _watch(failures, seconds=12, mib_per_s=1)
    assert states == [_S.POST_COPY_FAILED] * 5 + [_S.POST_COPY] * 7
    stopped = await _watch(failures, seconds=5, mib_per_s=0, begun_at_mib=11)
    assert stopped == [_S.POST_COPY] * 2 + [_S.POST_COPY_FAILED] * 3


async def test_a_few_bytes_are_no_flow() -> None:
    """A pause alone counts as eight."""
    assert set(await _watch(_failures(), seconds=20, mib_per_s=8 / _MIB)) == {_S.POST_COPY_FAILED}


async def _refused(failures: post_copy.Failures, *, seconds: int, is_refused: bool = True, mib: float = 2.0) -> list[bool]:
    """Look, and try in vain, once a second."""
    told = []
    for _ in range(seconds):
        failures.corrected("one", _seen(mib))
        told.append(failures.note_attempt("one", is_refused=is_refused))
        await clock.LoopClock().sleep(1.0)
    return told


async def test_a_source_that_only_refuses_and_sends_nothing_must_be_told() -> None:
    failures = _failures(stuck=4.0)
    assert await _refused(failures, seconds=6) == [False] * 4 + [True] * 2
    assert not failures.note_attempt("another", is_refused=True)
    failures.corrected("one", _seen(2, _S.POST_COPY))
    assert not failures.note_attempt("one", is_refused=True), "it was connected again"


async def test_bytes_that_move_and_a_destination_out_of_reach_begin_the_count_anew() -> None:
    failures = _failures(stuck=4.0)
    assert not any(await _refused(failures, seconds=4))
    assert not any(await _refused(failures, seconds=4, mib=3.0)), "it has sent a little more"
    assert not any(await _refused(failures, seconds=20, is_refused=False, mib=3.0)), "the network is down"
    assert await _refused(failures, seconds=5, mib=3.0) == [False] * 4 + [True]


async def test_none_is_told_where_that_is_switched_off() -> None:
    assert not any(await _refused(_failures(stuck=0.0), seconds=60))
