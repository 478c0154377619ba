# SPDX-License-Identifier: Apache-2.0
"""Schedules about one kind of trouble each: a share of the seeds, so that what is rare in the others is looked for hard in these.

Each takes an ordinary schedule's fleet and gives it other requests, other weather and other blows. Draws from a stream of its own.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable
from typing import Any

from wherry.testing.simulation import births, perils, schedule
from wherry.testing.simulation import chance as chances

_Make = Callable[[random.Random, schedule.Schedule], schedule.Schedule]
KINDS: dict[str, _Make] = {}
#: Share of the seeds that are about one of these.
_SHARE = 0.5
_QUIET = schedule.Weather(most_absent_seconds=2.0)


def make(seed: int) -> schedule.Schedule:
    """Make the schedule of a seed."""
    plan, draw = schedule.make(seed), chances.Chance(seed).stream("directed")
    if draw.random() >= _SHARE:
        return plan
    about = draw.choice(tuple(KINDS))
    made = KINDS[about](draw, plan)
    return dataclasses.replace(made, about=about, deeds=tuple(sorted(made.deeds, key=lambda deed: deed.at)))


def _kind(function: _Make) -> _Make:
    KINDS[function.__name__.removeprefix("_")] = function
    return function


# ---------------------------------------------------------------------- conductors


@_kind
def _stalls(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Conductors that stand still for longer than their lease, or lose the database alone, and go on in the middle of a step."""
    seconds, guests = 30.0, tuple(dataclasses.replace(one, dirty_mib_per_s=0.0) for one in plan.guests)
    deeds = _migrations(draw, plan, guests, seconds, number=10, version="2.90")
    deeds += [_deed(draw, seconds, "stall_conductor", lasting=draw.uniform(2.0, 8.0)) for _ in range(4)]
    deeds += [_deed(draw, seconds, "cut_database", lasting=draw.uniform(2.0, 8.0)) for _ in range(3)]
    deeds += [_deed(draw, seconds, "kill_agent", draw.choice(plan.hosts).name) for _ in range(2)]
    moments = ("send CheckDestination", "send CheckSource", "send ReleaseCheck", "send Prepare*", "send Start*", "send *", "sent *")
    return dataclasses.replace(
        plan,
        guests=guests,
        conductors=3,
        options=_with(plan, conductor={"lease_seconds": 2.0, "sweep_interval_seconds": 1.0}, libvirt=_unbounded()),
        fault_seconds=seconds,
        weather=_QUIET,
        strikes=_strikes(draw, "conductor", moments, "stall", number=6, most=4),
        deeds=tuple(deeds),
    )


@_kind
def _checks(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Checks of the source that come to no answer, and conductors that die as they have let the destination go."""
    seconds, guests = 25.0, _on_shared_disks(plan)
    deeds = _migrations(draw, plan, guests, seconds, number=10, version="2.90", host_share=0.3)
    for host in plan.hosts:
        keys = {"kind": "raise", "method": "check_source", "when": "before", "nth": 0, "slug": "hypervisor_failure", "seconds": 0.0}
        deeds.append(schedule.Deed(at=draw.uniform(0.0, seconds / 2), what="fail_calls", name=host.name, seconds=8.0, keys=keys))
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(3)]
    return dataclasses.replace(
        plan,
        guests=guests,
        conductors=3,
        options=_with(plan, conductor={"lease_seconds": 2.0, "sweep_interval_seconds": 1.0, "check_ttl_seconds": 30.0}),
        fault_seconds=seconds,
        weather=_QUIET,
        strikes=_strikes(draw, "conductor", ("sent RollBackDestination", "got answer", "sent CheckSource"), "kill", number=4, most=3),
        deeds=tuple(deeds),
    )


# ----------------------------------------------------------------------- transfers


@_kind
def _deadlines(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Guests that never converge, deadlines ahead, agents that die, and a control plane that is away."""
    seconds, guests = 40.0, _endless(plan)
    deeds = []
    for one in guests:
        asked: dict[str, Any] = {
            "timeout_seconds": draw.choice((7, 12, 20)),
            "on_timeout": draw.choice(("abort", "abort", "force_complete")),
        }
        deeds.append(_deed(draw, 6.0, "live_migrate", one.name, version="2.1000", **asked))
    deeds += [_deed(draw, seconds, "kill_agent", draw.choice(plan.hosts).name) for _ in range(10)]
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(3)]
    deeds += [_deed(draw, seconds, "lose_database", lasting=draw.uniform(3.0, 12.0))]
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(
            plan, DEFAULT={"max_concurrent_live_migrations": 3, "max_concurrent_incoming_live_migrations": 0}, libvirt=_unbounded()
        ),
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, most_absent_seconds=5.0),
        strikes=(),
        deeds=tuple(deeds),
    )


@_kind
def _aborts(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Aborts of what would never end, while the source is cut off or its agent dead."""
    seconds, guests = 25.0, _endless(plan)
    deeds = []
    for one in guests:
        at = draw.uniform(5.0, seconds - 5.0)
        deeds.append(_deed(draw, 3.0, "live_migrate", one.name, version="2.90"))
        deeds.append(schedule.Deed(at=at, what="abort", name=one.name))
        what = draw.choice(("cut_off", "cut_off", "kill_agent", "stall_agent"))
        deeds.append(schedule.Deed(at=at - draw.uniform(0.0, 2.0), what=what, name=one.host, seconds=draw.uniform(1.0, 6.0)))
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(
            plan,
            DEFAULT={
                "max_concurrent_live_migrations": 3,
                "max_concurrent_incoming_live_migrations": 0,
                "max_concurrent_live_migrations_cluster": 0,
            },
            libvirt=_unbounded(),
        ),
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, loss=draw.choice((0.0, 0.2)), most_absent_seconds=6.0),
        # Not always: who takes over tells the source again in any case.
        strikes=_strikes(draw, "conductor", ("send DeliverIntent", "sent DeliverIntent"), "kill", number=draw.choice((0, 0, 1)), most=3),
        deeds=tuple(deeds),
    )


@_kind
def _starts(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Messages that come twice, hypervisors that take their time, and agents that die as a transfer begins."""
    seconds, guests = 25.0, _endless(plan)
    deeds = _migrations(draw, plan, guests, seconds, number=8, version="2.1000", timeout_seconds=3, on_timeout="abort")
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(2)]
    moments = ("call start_transfer", "done start_transfer", "done start_transfer", "sent Transfer*", "answer StartTransfer")
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(
            plan, DEFAULT={"max_concurrent_live_migrations": 3, "max_concurrent_incoming_live_migrations": 0}, libvirt=_unbounded()
        ),
        call_seconds=draw.choice((0.02, 0.1, 0.3)),
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, doubling=0.6, slowness=0.3, slow_seconds=2.0),
        strikes=_strikes(draw, "agent", moments, "kill", number=4, most=4),
        deeds=tuple(deeds),
    )


@_kind
def _lost_replies(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Closing replies that are lost where no lock keeps the source from going on, and agents that die before they saw the hand-over."""
    seconds, guests = 40.0, _on_shared_disks(plan)
    deeds = _migrations(draw, plan, guests, seconds / 2, number=8, version="2.90")
    for one in guests:
        deeds.append(schedule.Deed(at=0.0, what="lose_closing_reply", name=one.name, keys={"delay": draw.random() * 3.0}))
    deeds += [_deed(draw, seconds, draw.choice(("kill_agent", "kill_conductor")), draw.choice(plan.hosts).name) for _ in range(2)]
    for one in guests:
        if draw.random() < 0.5:
            keys = {"step": draw.choice(("iteration", "switch_over", "arrived")), "side": "source", "deed": "kill_agent"}
            deeds.append(schedule.Deed(at=draw.uniform(0.0, seconds / 2), what="strike_at_step", name=one.name, keys=keys))
    return dataclasses.replace(
        plan,
        guests=guests,
        shared_has_locks=False,
        options=_with(plan, libvirt=_unbounded()),
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, most_absent_seconds=8.0),
        strikes=(),
        deeds=tuple(deeds),
    )


@_kind
def _lost_arrivals(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Guests that have arrived and are lost with their new host before their source has heard of it: they are whole at the source."""
    seconds, guests = 30.0, _on_shared_disks(plan)
    deeds = _migrations(draw, plan, guests, seconds / 2, number=6, version="2.90")
    for one in guests:
        deeds.append(schedule.Deed(at=0.0, what="lose_closing_reply", name=one.name, keys={"delay": draw.random() * 3.0}))
        keys = {"step": "arrived", "side": "destination", "deed": "lose_power"}
        deeds.append(schedule.Deed(at=0.0, what="strike_at_step", name=one.name, keys=keys))
    return dataclasses.replace(
        plan,
        guests=guests,
        shared_has_locks=draw.random() < 0.7,
        options=_with(plan, libvirt=_unbounded()),
        fault_seconds=seconds,
        weather=_QUIET,
        strikes=(),
        deeds=tuple(deeds),
    )


@_kind
def _reports(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """What sources report is lost and doubled on its way, and conductors die over it."""
    seconds, guests = 25.0, _endless(plan)
    deeds = _migrations(draw, plan, guests, seconds, number=8, version="2.1000", timeout_seconds=3, on_timeout="force_complete")
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(3)]
    deeds += [_deed(draw, seconds, "reload", libvirt=schedule.steering(draw)) for _ in range(2)]
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(plan, DEFAULT={"max_concurrent_live_migrations": 3, "max_concurrent_incoming_live_migrations": 0}),
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, loss=0.3, doubling=0.5, lost_answers=0.1),
        strikes=(),
        deeds=tuple(deeds),
    )


@_kind
def _inventories(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Inventories every other second, of guests that are forced to complete, paused, and handed over to hosts that are slow with them."""
    seconds, guests = 30.0, _endless(plan)
    deeds = _migrations(draw, plan, guests, seconds, number=6, version="2.1000", timeout_seconds=2, on_timeout="force_complete")
    for one in guests:
        deeds.append(schedule.Deed(at=0.0, what="lose_closing_reply", name=one.name, keys={"delay": 3.0}))
    slow = {"kind": "delay", "method": "finish_destination", "when": "before", "nth": 0, "slug": "", "seconds": 6.0}
    deeds += [schedule.Deed(at=0.0, what="fail_calls", name=host.name, seconds=3 * seconds, keys=slow) for host in plan.hosts]
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(plan, agent={"inventory_interval_seconds": 2.0}, libvirt=_unbounded()),
        # The longest of them takes as long again.
        fault_seconds=3 * seconds,
        weather=_QUIET,
        strikes=(),
        deeds=tuple(deeds),
    )


# --------------------------------------------------------- cold migrations, births


@_kind
def _moves(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Cold migrations and resizes with disks of the hosts' own: agents and conductors die at every step, there and back."""
    seconds = 40.0
    guests = tuple(
        dataclasses.replace(one, is_persistent=True, is_paused=False, shutdown_seconds=0.5, disks=_own(one.name)) for one in plan.guests
    )
    deeds = []
    for one in guests:
        at = draw.uniform(0.0, seconds / 2)
        body: dict[str, Any] = draw.choice(({"migrate": {"host": None}}, {"resize": {"flavorRef": "1"}}, {"migrate": {"host": None}}))
        deeds.append(schedule.Deed(at=at, what="action", name=one.name, keys=body))
        if draw.random() < 0.3:
            deeds.append(schedule.Deed(at=at + draw.uniform(0.5, 8.0), what="reset_state", name=one.name))
        for _ in range(2):
            ending = {draw.choice(("revertResize", "revertResize", "confirmResize")): None}
            deeds.append(schedule.Deed(at=at + draw.uniform(3.0, seconds / 2), what="action", name=one.name, keys=ending))
    for host in plan.hosts:
        keys = {"kind": "raise", "method": "receive_guest", "when": "after", "nth": 1, "slug": "hypervisor_failure", "seconds": 0.0}
        if draw.random() < 0.4:
            deeds.append(schedule.Deed(at=0.0, what="fail_calls", name=host.name, seconds=seconds, keys=keys))
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(2)]
    agents = ("call send_disks", "done retire_guest", "done send_disks", "done receive_guest", "done start_guest", "done restore_guest")
    # As the disks are under way, which takes seconds.
    deeds += [_deed(draw, seconds, "kill_agent", draw.choice(plan.hosts).name) for _ in range(6)]
    return dataclasses.replace(
        plan,
        guests=guests,
        options=_with(plan, DEFAULT={"resize_confirm_window": 0}, conductor={"move_poll_interval_seconds": 0.2}),
        fault_seconds=seconds,
        weather=_QUIET,
        strikes=_strikes(draw, "agent", agents, "kill", number=3, most=2),
        deeds=tuple(deeds),
    )


@_kind
def _births(draw: random.Random, plan: schedule.Schedule) -> schedule.Schedule:
    """Servers that are made and deleted, at hosts that fail, by agents and conductors that die."""
    seconds, names = 30.0, [host.name for host in plan.hosts]
    wanted = [one for number in range(1, 7) for one in births.life(draw, f"b{number}", names, seconds)]
    deeds = [schedule.Deed(at=at, what=what, name=name, keys=keys) for at, what, name, keys in wanted]
    deeds += [_deed(draw, seconds, "delete", one.name) for one in plan.guests[:2]]
    for at, name, lasting, keys in births.faults(draw, names, seconds):
        deeds.append(schedule.Deed(at=at, what="fail_calls", name=name, seconds=lasting, keys=keys))
    deeds += [_deed(draw, seconds, "kill_conductor") for _ in range(2)]
    if draw.random() < 0.3:
        deeds.append(_deed(draw, seconds, "lose_host", draw.choice(names), lasting=5.0))
    moments = ("call build_guest", "done build_guest", "call destroy_guest", "done destroy_guest", "answer BuildGuest")
    return dataclasses.replace(
        plan,
        fault_seconds=seconds,
        weather=dataclasses.replace(_QUIET, loss=draw.choice((0.0, 0.15)), doubling=draw.choice((0.0, 0.4)), most_absent_seconds=6.0),
        strikes=_strikes(draw, "agent", moments, "kill", number=3, most=3),
        deeds=tuple(deeds),
    )


# -------------------------------------------------------------------------- pieces


def _migrations(
    draw: random.Random,
    plan: schedule.Schedule,
    guests: tuple[schedule.GuestPlan, ...],
    seconds: float,
    *,
    number: int,
    host_share: float = 0.0,
    **keys: Any,
) -> list[schedule.Deed]:
    """Draw live migrations of these guests, spread over the time; some to a host that is named."""
    deeds = []
    for _ in range(number):
        named: dict[str, Any] = {"host": draw.choice(plan.hosts).name} if draw.random() < host_share else {}
        deeds.append(_deed(draw, seconds * 0.8, "live_migrate", draw.choice(guests).name, **keys, **named))
    return deeds


def _deed(draw: random.Random, seconds: float, what: str, name: str = "", *, lasting: float = 0.0, **keys: Any) -> schedule.Deed:
    return schedule.Deed(at=draw.uniform(0.0, seconds), what=what, name=name, seconds=lasting, keys=keys)


def _strikes(draw: random.Random, kind: str, moments: Iterable[str], deed: str, *, number: int, most: int) -> tuple[perils.Strike, ...]:
    choices = tuple(moments)
    return tuple(perils.Strike(kind=kind, what=draw.choice(choices), number=draw.randint(1, most), deed=deed) for _ in range(number))


def _with(plan: schedule.Schedule, **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return schedule.merged(plan.options, sections)


def _unbounded() -> dict[str, Any]:
    """Give options by which nothing ends a transfer but its request, and post-copy is none."""
    return {
        "live_migration_completion_timeout": 0,
        "live_migration_permit_post_copy": False,
        "live_migration_max_pause_seconds": 0.0,
        "live_migration_timeout_action": "abort",
    }


def _endless(plan: schedule.Schedule) -> tuple[schedule.GuestPlan, ...]:
    """Give the guests so that none of their transfers ends by itself."""
    links = {host.name: host.link_mib_per_s for host in plan.hosts}
    made = (
        dataclasses.replace(one, dirty_mib_per_s=links[one.host] * 4, memory_mib=512, is_paused=False) for one in _on_shared_disks(plan)
    )
    return tuple(made)


def _on_shared_disks(plan: schedule.Schedule) -> tuple[schedule.GuestPlan, ...]:
    """Give the guests with one disk each that all hosts see, idle and running."""
    return tuple(
        dataclasses.replace(one, disks=(schedule.disk("vda", f"{schedule.SHARED}/{one.name}.raw"),), dirty_mib_per_s=0.0, is_paused=False)
        for one in plan.guests
    )


def _own(name: str) -> tuple[Any, ...]:
    return (schedule.disk("vda", f"{schedule.OWN}/{name}.raw"),)
