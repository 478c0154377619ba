# SPDX-License-Identifier: Apache-2.0
"""What one seed stands for: a fleet, a configuration, what clients ask and when, and what goes wrong and when.

Draws, and does nothing. A schedule is plain data: a person can read what a seed is about.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

from wherry.model import guest
from wherry.testing.simulation import births, moves, perils
from wherry.testing.simulation import chance as chances

SHARED, OWN = "/shared", "/own"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostPlan:
    """One host."""

    name: str
    link_mib_per_s: float
    profile: str = "libvirt"
    hypervisor_version: int = 7_002_000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestPlan:
    """One guest."""

    name: str
    host: str
    memory_mib: int
    dirty_mib_per_s: float
    is_paused: bool
    is_persistent: bool
    shutdown_seconds: float | None
    disks: tuple[guest.Disk, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """Something that a client asks, or that goes wrong, at one time."""

    at: float
    #: What `asking.Asking` or `deeds.Deeds` knows to do by that name.
    what: str
    #: The host or guest that it is about; empty for neither.
    name: str = ""
    #: How long it lasts.
    seconds: float = 0.0
    keys: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Weather:
    """What goes wrong by chance for as long as faults go on; see the classes of these fields' names."""

    loss: float = 0.0
    doubling: float = 0.0
    slowness: float = 0.0
    slow_seconds: float = 0.0
    conflicts: float = 0.0
    refusals: float = 0.0
    lost_answers: float = 0.0
    database_slowness: float = 0.0
    database_seconds: float = 0.0
    death_rates: dict[str, float] = dataclasses.field(default_factory=dict)
    #: Longest absence of who died, in seconds; drawn with most of the weight on short ones.
    most_absent_seconds: float = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """One run."""

    seed: int
    hosts: tuple[HostPlan, ...]
    guests: tuple[GuestPlan, ...]
    shared_has_locks: bool
    apis: int
    conductors: int
    options: dict[str, dict[str, Any]]
    call_seconds: float
    call_timeout_seconds: float
    #: Virtual seconds from the first request until nothing goes wrong any more.
    fault_seconds: float
    weather: Weather
    strikes: tuple[perils.Strike, ...]
    deeds: tuple[Deed, ...]
    #: The kind of trouble that it is about; empty for a bit of everything. See `directed`.
    about: str = ""


def make(seed: int) -> Schedule:
    """Make the schedule of a seed."""
    draw = chances.Chance(seed).stream("schedule")
    hosts = _hosts(draw)
    has_locks = draw.random() < 0.6
    guests = _guests(draw, hosts)
    fault_seconds = draw.uniform(10.0, 40.0)
    deeds = [*_requests(draw, hosts, guests, fault_seconds), *_disturbances(draw, hosts, guests, fault_seconds)]
    apart = chances.Chance(seed).stream("moves")
    deeds += _moves(apart, hosts, guests, fault_seconds)
    deeds += _births(chances.Chance(seed).stream("births"), hosts, guests, fault_seconds)
    return Schedule(
        seed=seed,
        hosts=hosts,
        guests=guests,
        shared_has_locks=has_locks,
        apis=draw.choice((1, 2, 2, 3)),
        conductors=draw.choice((2, 2, 3)),
        options=merged(_options(draw), moves.options(apart)),
        call_seconds=draw.choice((0.0, 0.002, 0.02)),
        call_timeout_seconds=draw.choice((3.0, 10.0, 30.0)),
        fault_seconds=fault_seconds,
        weather=_weather(draw),
        strikes=_strikes(draw),
        deeds=tuple(sorted(deeds, key=lambda deed: deed.at)),
    )


def _hosts(draw: random.Random) -> tuple[HostPlan, ...]:
    slow, are_mixed, version = draw.random() < 0.5, draw.random() < 0.1, draw.choice((7_002_000, 10_000_000))
    return tuple(
        HostPlan(
            name=f"h{number}",
            link_mib_per_s=draw.choice((60.0, 120.0, 200.0) if slow else (300.0, 600.0, 1192.0)),
            # One that can neither abort nor force to complete, now and then.
            profile=draw.choice(("vmware", "xenapi")) if number > 2 and draw.random() < 0.05 else "libvirt",
            hypervisor_version=draw.choice((7_002_000, 10_000_000)) if are_mixed else version,
        )
        for number in range(1, draw.choice((3, 3, 4, 5, 6)) + 1)
    )


def _guests(draw: random.Random, hosts: tuple[HostPlan, ...]) -> tuple[GuestPlan, ...]:
    able = [host for host in hosts if host.profile == "libvirt"]
    guests = []
    for number in range(1, draw.randint(2, 7) + 1):
        name, host = f"g{number}", draw.choice(able)
        guests.append(
            GuestPlan(
                name=name,
                host=host.name,
                memory_mib=draw.choice((256, 512, 1024, 2048)),
                dirty_mib_per_s=chances.weighted(
                    draw, ((5, 0.0), (2, host.link_mib_per_s * 0.3), (1, host.link_mib_per_s * 0.9), (3, host.link_mib_per_s * 3))
                ),
                is_paused=draw.random() < 0.12,
                is_persistent=draw.random() < 0.8,
                shutdown_seconds=draw.choice((0.5, 2.0, 8.0, None)),
                disks=_disks(draw, name),
            )
        )
    return tuple(guests)


def _disks(draw: random.Random, name: str) -> tuple[guest.Disk, ...]:
    kind = chances.weighted(draw, ((5, "shared"), (2, "own"), (2, "both"), (1, "none"), (1, "shareable")))
    disks = []
    if kind in ("shared", "both", "shareable"):
        disks.append(disk("vda", f"{SHARED}/{name}.raw", shareable=kind == "shareable"))
    if kind in ("own", "both"):
        disks.append(disk("vdb", f"{OWN}/{name}.raw"))
    return tuple(disks)


def disk(device: str, path: str, *, shareable: bool = False) -> guest.Disk:
    """Give a disk of half a GiB."""
    return guest.Disk(name=device, kind=guest.DiskKind.FILE, source=path, capacity_bytes=1 << 29, shareable=shareable)


def _options(draw: random.Random) -> dict[str, dict[str, Any]]:
    one = draw.choice
    return {
        "DEFAULT": {
            "max_concurrent_live_migrations": one((1, 1, 2, 3)),
            "max_concurrent_incoming_live_migrations": one((2, 1, 0)),
            "max_concurrent_live_migrations_cluster": one((0, 0, 2, 3)),
            "migrate_max_retries": one((-1, 0, 2)),
            "report_interval_seconds": one((5.0, 10.0)),
            "service_down_time_seconds": one((25.0, 60.0)),
        },
        "bus": {"drain_timeout_seconds": 0.0, "rpc_response_timeout_seconds": one((2.0, 5.0, 15.0))},
        "conductor": {
            "lease_seconds": one((2.0, 4.0, 4.0)),
            "lease_renew_interval_seconds": 1.0,
            "sweep_interval_seconds": one((1.0, 2.0, 4.0)),
            "check_ttl_seconds": one((3.0, 30.0)),
            "chore_retry_interval_seconds": one((5.0, 15.0)),
            "agent_silence_seconds": one((4.0, 15.0)),
            "contradiction_grace_seconds": one((5.0, 15.0)),
            "shutdown_timeout_seconds": one((0.0, 3.0, 10.0)),
        },
        "agent": {"inventory_interval_seconds": 10.0, "report_timeout_seconds": one((2.0, 5.0))},
        "api": {"blocking_request_timeout_seconds": one((10.0, 60.0))},
        "libvirt": steering(draw),
    }


def steering(draw: random.Random) -> dict[str, Any]:
    """Draw how transfers are steered; also what a reload changes to."""
    one = draw.choice
    return {
        "live_migration_completion_timeout": one((0, 3, 8, 800)),
        "live_migration_timeout_action": one(("abort", "force_complete")),
        "live_migration_permit_post_copy": one((True, False)),
        "live_migration_max_pause_seconds": one((0.0, 0.0, 3.0)),
        "live_migration_max_post_copy_seconds": one((0.0, 0.0, 5.0)),
        "live_migration_downtime_delay": one((10, 75)),
    }


def _requests(draw: random.Random, hosts: tuple[HostPlan, ...], guests: tuple[GuestPlan, ...], seconds: float) -> list[Deed]:
    deeds = []
    for _ in range(draw.randint(4, 16)):
        at, one = draw.random() ** 1.5 * seconds * 0.8, draw.choice(guests)
        what = chances.weighted(
            draw,
            (
                (16, "live_migrate"),
                (3, "abort"),
                (3, "force_complete"),
                (1, "resume_post_copy"),
                (0.5, "give_up"),
                (3, "power"),
                (0.7, "reset_state"),
                (0.7, "check"),
                (0.7, "look"),
            ),
        )
        keys: dict[str, Any] = {}
        if what == "live_migrate":
            keys = _asked(draw, hosts, one)
        elif what == "power":
            keys = {"action": draw.choice(("pause", "unpause", "os-start", "os-stop", "os-stop"))}
        deeds.append(Deed(at=at, what=what, name=one.name, keys=keys))
    # Whatever else is drawn, something is to move.
    deeds.append(Deed(at=draw.uniform(0.0, 3.0), what="live_migrate", name=guests[0].name, keys=_asked(draw, hosts, guests[0])))
    return deeds


def _asked(draw: random.Random, hosts: tuple[HostPlan, ...], leaving: GuestPlan) -> dict[str, Any]:
    version = chances.weighted(draw, ((5, "2.90"), (1, "2.34"), (1, "2.30"), (0.5, "2.20"), (4, "2.1000")))
    keys: dict[str, Any] = {"version": version}
    if draw.random() < 0.5:
        # Where it is at first is refused; now and then it has moved away from there.
        keys["host"] = draw.choice([host for host in hosts if host.name != leaving.host or draw.random() < 0.2]).name
    if version == "2.1000" and draw.random() < 0.8:
        keys["timeout_seconds"] = draw.choice((1, 3, 7, 20))
        keys["on_timeout"] = draw.choice(("abort", "force_complete"))
    return keys


def _moves(draw: random.Random, hosts: tuple[HostPlan, ...], guests: tuple[GuestPlan, ...], seconds: float) -> list[Deed]:
    names, able = [host.name for host in hosts], [one.name for one in guests if one.is_persistent]
    wanted = moves.asked(draw, names, able, seconds) if able else []
    deeds = [Deed(at=at, what=what, name=name, keys=keys) for at, what, name, keys in wanted]
    failing = moves.faults(draw, names, seconds) if wanted else []
    return deeds + [Deed(at=at, what="fail_calls", name=name, seconds=lasting, keys=keys) for at, name, lasting, keys in failing]


def _births(draw: random.Random, hosts: tuple[HostPlan, ...], guests: tuple[GuestPlan, ...], seconds: float) -> list[Deed]:
    names = [host.name for host in hosts]
    wanted = births.asked(draw, names, [one.name for one in guests], seconds)
    deeds = [Deed(at=at, what=what, name=name, keys=keys) for at, what, name, keys in wanted]
    failing = births.faults(draw, names, seconds) if wanted else []
    return deeds + [Deed(at=at, what="fail_calls", name=name, seconds=lasting, keys=keys) for at, name, lasting, keys in failing]


def merged(*options: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give options by section, the later ones over the earlier."""
    found: dict[str, dict[str, Any]] = {}
    for one in options:
        for section, values in one.items():
            found[section] = found.get(section, {}) | values
    return found


#: Disturbances of a host, and how they are weighted.
_OF_HOSTS = (
    (3, "kill_agent"),
    (1, "restart_agent"),
    (2, "crash_machine"),
    (0.5, "lose_power"),
    (2, "kill_daemon"),
    (2, "silence_daemon"),
    (2, "cut_link"),
    (1, "slow_link"),
    (2, "cut_off"),
    (5, "fail_calls"),
    (1, "stall_agent"),
    (0.4, "lose_host"),
)
_OF_GUESTS = (
    (5, "lose_closing_reply"),
    (4, "break_post_copy"),
    (6, "strike_at_step"),
    (0.7, "destroy_guest"),
    (0.4, "crash_guest"),
    (0.7, "pause_guest"),
    (0.5, "resume_guest"),
)
#: Steps of a transfer at which something may befall one of its hosts.
_STEPS = ("started", "iteration", "switch_over", "switch_over", "arrived", "arrived", "post_copy", "ended")
_SIDES = ("source", "destination")
_AT_STEPS = ("kill_agent", "kill_agent", "crash_machine", "kill_daemon", "silence_daemon", "cut_link", "cut_off")
_OF_ALL = (
    (3, "kill_conductor"),
    (1, "stop_conductor"),
    (1.5, "stall_conductor"),
    (0.7, "cut_database"),
    (1, "kill_api"),
    (1.5, "lose_database"),
    (1, "reload"),
)


def _disturbances(draw: random.Random, hosts: tuple[HostPlan, ...], guests: tuple[GuestPlan, ...], seconds: float) -> list[Deed]:
    # Some runs know one kind of trouble only: what many at once would hide shows there.
    kinds = [kind for kind in ("hosts", "guests", "all") if draw.random() < 0.65]
    deeds = []
    for _ in range(chances.weighted(draw, ((1, 0), (3, 3), (3, 7), (2, 14))) if kinds else 0):
        at, kind = draw.uniform(0.0, seconds), draw.choice(kinds)
        lasting = draw.random() ** 2 * 25.0
        if kind == "hosts":
            what, name = chances.weighted(draw, _OF_HOSTS), draw.choice(hosts).name
            deeds.append(Deed(at=at, what=what, name=name, seconds=lasting, keys=_fault(draw) if what == "fail_calls" else {}))
        elif kind == "guests":
            keys = {"delay": draw.random() * 3.0, "step": draw.choice(_STEPS), "side": draw.choice(_SIDES), "deed": draw.choice(_AT_STEPS)}
            deeds.append(Deed(at=at, what=chances.weighted(draw, _OF_GUESTS), name=draw.choice(guests).name, seconds=lasting, keys=keys))
        else:
            what = chances.weighted(draw, _OF_ALL)
            deeds.append(Deed(at=at, what=what, seconds=lasting / 2, keys={"libvirt": steering(draw)} if what == "reload" else {}))
    return deeds


_METHODS = (
    "*",
    "observe_guest",
    "read_transfer",
    "check_destination",
    "check_source",
    "release_check",
    "prepare_destination",
    "start_transfer",
    "abort_transfer",
    "start_post_copy",
    "resume_post_copy",
    "pause_guest",
    "resume_guest",
    "finish_destination",
    "clean_up_source",
    "roll_back_destination",
    "describe_guests",
    "power_off_guest",
)


def _fault(draw: random.Random) -> dict[str, Any]:
    kind = chances.weighted(draw, ((4, "raise"), (3, "delay"), (1, "hang"), (1, "crash")))
    return {
        "kind": kind,
        "method": draw.choice(_METHODS),
        "when": draw.choice(("before", "after")),
        "nth": draw.choice((0, 1, 1, 2)),
        "slug": draw.choice(("hypervisor_failure", "hypervisor_unavailable")),
        "seconds": draw.choice((0.3, 2.0, 12.0)),
    }


def _weather(draw: random.Random) -> Weather:
    def share(most: float, chance: float) -> float:
        return draw.random() ** 2 * most if draw.random() < chance else 0.0

    rates = {kind: rate for kind in ("conductor", "agent", "api") if (rate := share(0.01, 0.4))}
    return Weather(
        loss=share(0.25, 0.4),
        doubling=share(0.4, 0.4),
        slowness=share(0.4, 0.5),
        slow_seconds=draw.choice((0.5, 4.0, 15.0)),
        conflicts=share(0.2, 0.3),
        refusals=share(0.05, 0.3),
        lost_answers=share(0.05, 0.3),
        database_slowness=share(0.5, 0.5),
        database_seconds=draw.choice((0.05, 0.5, 3.0)),
        death_rates=rates,
        most_absent_seconds=draw.choice((2.0, 8.0, 30.0)),
    )


#: Effects at which to strike; where the trouble of these systems has always been.
_MOMENTS = (
    ("conductor", "committed", 40),
    ("conductor", "send *", 25),
    ("conductor", "sent StartTransfer", 2),
    ("conductor", "sent Finish*", 3),
    ("conductor", "sent RollBack*", 2),
    ("conductor", "sent PrepareDestination", 2),
    ("conductor", "got Transfer*", 3),
    ("agent", "done start_transfer", 2),
    ("agent", "call start_transfer", 2),
    ("agent", "done prepare_destination", 2),
    ("agent", "done check_destination", 3),
    ("agent", "done abort_transfer", 1),
    ("agent", "done pause_guest", 1),
    ("agent", "done clean_up_source", 2),
    ("agent", "done finish_destination", 2),
    ("agent", "done roll_back_destination", 2),
    ("agent", "call build_guest", 2),
    ("agent", "done build_guest", 2),
    ("agent", "done destroy_guest", 2),
    ("agent", "done send_disks", 2),
    ("agent", "done receive_guest", 2),
    ("agent", "answer *", 12),
    ("agent", "written", 30),
    ("agent", "got *", 20),
    ("agent", "send Transfer*", 5),
    ("agent", "sent Transfer*", 5),
    ("api", "committed", 4),
)
_STRUCK = (
    "kill",
    "kill",
    "kill",
    "kill",
    "stall",
    "stall",
    "crash_machine",
    "kill_daemon",
    "cut_off",
    "cut_link",
    "lose_database",
    "silence_daemon",
)


def _strikes(draw: random.Random) -> tuple[perils.Strike, ...]:
    strikes = []
    for _ in range(chances.weighted(draw, ((3, 0), (3, 1), (2, 2), (1, 4)))):
        kind, what, most = draw.choice(_MOMENTS)
        deed = draw.choice(_STRUCK)
        if kind != "agent" and deed not in ("kill", "stall", "lose_database"):
            deed = "kill"
        strikes.append(perils.Strike(kind=kind, what=what, number=draw.randint(1, most), deed=deed))
    return tuple(strikes)
