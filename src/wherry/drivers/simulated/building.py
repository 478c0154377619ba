# SPDX-License-Identifier: Apache-2.0
"""A world made from a scenario. The same scenario and seed make the same world, to the uuid."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import random
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers.simulated import disturbances, faults, fleet, profiles, scenario, world
from wherry.model import guest

T = TypeVar("T")
#: Disturbances of a host; the others are of a guest.
_OF_HOSTS = frozenset({"cut_link", "restore_link", "change_link", "kill_daemon", "silence_daemon", "start_daemon", "power_off"})


def build(wanted: scenario.Scenario, clock: wherry_clock.Clock, *, time_factor: float = 1.0, where: str = "scenario") -> world.World:
    """Make the world of a scenario.

    :param time_factor: multiplies the scenario's own.
    :param where: what error messages call the scenario.
    :raises ConfigInvalid: when its parts do not fit together.
    """
    return _Builder(wanted, clock, time_factor, where).build()


def host_names(wanted: scenario.Scenario) -> list[str]:
    """Give the names of its hosts, in order, without making a world."""
    return [name for index, part in enumerate(wanted.hosts) for name in _names(part.name, part.count, f"hosts[{index}]", "scenario")]


def _names(pattern: str, count: int, path: str, where: str) -> Iterator[str]:
    try:
        names = [pattern.format(n=number) for number in range(1, count + 1)]
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        instead = "Use {n} for the number, {n:03} for one of three digits, and no other braces."
        raise errors.ConfigInvalid(where=f"{where}: {path}.name", problem=f"{pattern!r} cannot be filled in", instead=instead) from error
    if count > 1 and names[0] == names[1]:
        raise errors.ConfigInvalid(
            where=f"{where}: {path}.name", problem=f"{count} would have the same name {pattern!r}", instead=f'Write "{pattern}-{{n}}".'
        )
    return iter(names)


class _Builder:
    """Makes one world, part by part."""

    def __init__(self, wanted: scenario.Scenario, clock: wherry_clock.Clock, time_factor: float, where: str) -> None:
        self._wanted = wanted
        self._where = where
        self._world = world.World(
            wanted.name,
            clock=clock,
            seed=wanted.seed,
            time_factor=wanted.time_factor * time_factor,
            is_instant=wanted.instant,
            core_mib_per_s=wanted.core_mib_per_s,
            call_timeout_seconds=wanted.call_timeout_seconds,
            call_seconds=wanted.call_seconds,
        )
        self._guests: dict[str, str] = {}

    def build(self) -> world.World:
        for name, part in self._wanted.stores.items():
            store = fleet.Store(name, part.capacity_gib * fleet.GIB, is_coherent=part.coherent, has_locks=part.locks)
            self._world.add_store(store)
        for index, host_part in enumerate(self._wanted.hosts):
            self._add_hosts(host_part, f"hosts[{index}]")
        for index, guest_part in enumerate(self._wanted.guests):
            self._add_guests(guest_part, f"guests[{index}]")
        for index, fault in enumerate(self._wanted.call_faults):
            self._add_fault(fault, f"call_faults[{index}]")
        for index, disturbance in enumerate(self._wanted.disturbances):
            self._add_disturbance(disturbance, f"disturbances[{index}]")
        return self._world

    def _refuse(self, path: str, problem: str, instead: str) -> NoReturn:
        raise errors.ConfigInvalid(where=f"{self._where}: {path}", problem=problem, instead=instead)

    # ------------------------------------------------------------------- hosts

    def _add_hosts(self, part: scenario.HostPart, path: str) -> None:
        profile = profiles.PROFILES.get(part.profile)
        if profile is None:
            self._refuse(f"{path}.profile", f"{part.profile!r} is not known", f"Use one of: {', '.join(profiles.PROFILES)}.")
        for name in _names(part.name, part.count, path, self._where):
            if name in self._world.hosts:
                self._refuse(f"{path}.name", f"there is a host {name} already", "Give every host a name of its own.")
            self._world.add_host(
                name,
                stores={directory: self._store(name, directory, kind, path) for directory, kind in part.directories.items()},
                link_mib_per_s=part.link_mib_per_s,
                latency_seconds=part.latency_ms / 1000,
                profile=profile,
                vcpus=part.vcpus,
                memory_mib=part.memory_mib,
                cpu_level=part.cpu_level,
                hypervisor_version=part.hypervisor_version,
                machine_types=frozenset(part.machine_types),
                bridges=frozenset(part.bridges),
                networks=frozenset(part.networks),
            )

    def _store(self, host_name: str, directory: str, kind: str | int, path: str) -> fleet.Store:
        if isinstance(kind, int):
            return fleet.Store(f"{host_name}:{directory}", kind * fleet.GIB)
        if kind not in self._world.stores:
            known = ", ".join(self._world.stores) or "there are none"
            self._refuse(
                f"{path}.directories.{directory}", f"there is no store {kind!r}", f"Add it to stores ({known}), or write its size in GiB."
            )
        return self._world.stores[kind]

    # ------------------------------------------------------------------ guests

    def _add_guests(self, part: scenario.GuestPart, path: str) -> None:
        hosts = [name for name in self._world.hosts if any(fnmatch.fnmatchcase(name, pattern) for pattern in part.hosts)]
        if not hosts:
            self._refuse(f"{path}.hosts", f"no host is named {', '.join(part.hosts)}", 'Use names of hosts, or patterns such as "host-*".')
        draw = random.Random(f"{self._wanted.seed}/{path}")
        places = itertools.cycle(hosts) if part.spread == "round_robin" else iter(lambda: draw.choice(hosts), "")
        interfaces = tuple(guest.Interface(kind="bridge", name=name) for name in part.bridges)
        interfaces += tuple(guest.Interface(kind="network", name=name) for name in part.networks)
        for name, host_name in zip(_names(part.name, part.count, path, self._where), places, strict=False):
            if name in self._guests:
                self._refuse(f"{path}.name", f"there is a guest {name} already", "Give every guest a name of its own.")
            spec = self._world.add_guest(
                host_name,
                name,
                state=guest.GuestState.PAUSED if part.paused else guest.GuestState.RUNNING,
                memory_mib=_draw(draw, part.memory_mib),
                vcpus=_draw(draw, part.vcpus),
                dirty_mib_per_s=_draw(draw, part.dirty_mib_per_s),
                working_set_mib=None if part.working_set_mib is None else _draw(draw, part.working_set_mib),
                disks=tuple(self._disk(number, disk, name, host_name, f"{path}.disks") for number, disk in enumerate(part.disks)),
                interfaces=interfaces,
                machine_type=part.machine_type,
                cpu_level=part.cpu_level,
                passthrough_devices=part.passthrough_devices,
                snapshot_count=part.snapshots,
                active_job=part.active_job,
                is_persistent=part.persistent,
                project_id=part.project_id,
            )
            self._guests[name] = spec.uuid

    def _disk(self, number: int, part: scenario.DiskPart, guest_name: str, host_name: str, path: str) -> guest.Disk:
        directories = self._world.hosts[host_name].stores
        if part.directory not in directories:
            instead = f"Use one of: {', '.join(directories)}."
            self._refuse(f"{path}[{number}].directory", f"host {host_name} has no directory {part.directory}", instead)
        return guest.Disk(
            name=f"vd{chr(ord('a') + number)}",
            kind=guest.DiskKind.FILE,
            source=f"{part.directory}/{guest_name}-{number}.{part.format}",
            format=part.format,
            capacity_bytes=part.gib * fleet.GIB,
            allocation_bytes=part.gib * fleet.GIB,
            shareable=part.shareable,
            cache=part.cache,
        )

    # ------------------------------------------------------------------ faults

    def _add_fault(self, part: scenario.CallFaultPart, path: str) -> None:
        if part.slug not in errors.known_slugs():
            close = ", ".join(sorted(slug for slug in errors.known_slugs() if part.slug[:4] in slug)) or "see errors.py"
            self._refuse(f"{path}.slug", f"there is no error {part.slug!r}", f"Use the slug of an error: {close}.")
        self._world.faults.add(
            faults.CallFault(
                kind=part.kind,
                method=part.method,
                host=part.host,
                guest=part.guest,
                nth=part.nth,
                when=part.when,
                slug=part.slug,
                fields=part.fields,
                seconds=part.seconds,
            )
        )

    def _add_disturbance(self, part: scenario.DisturbancePart, path: str) -> None:
        hand = disturbances.Disturbances(self._world)
        if (part.at_seconds is None) is (part.on_step is None):
            self._refuse(path, "it must be told when", "Write either at_seconds: or on_step:.")
        action = self._action(hand, part, path)
        if part.at_seconds is not None:
            hand.at(part.at_seconds, action)
        elif part.on_step is not None:
            self._known_guest(part.on_step.guest, f"{path}.on_step.guest")
            hand.on_step(part.on_step.guest, part.on_step.step, action, number=part.on_step.number)

    def _action(self, hand: disturbances.Disturbances, part: scenario.DisturbancePart, path: str) -> Callable[[], None]:
        if part.do in _OF_HOSTS:
            return self._host_action(hand, part, self._known_host(part, path))
        instance_uuid = self._known_guest(part.guest, f"{path}.guest")
        if part.do == "break_post_copy":
            return functools.partial(hand.break_post_copy, instance_uuid)
        if part.do == "lose_closing_reply":
            seconds = disturbances.LOST_REPLY_SECONDS if part.seconds is None else part.seconds
            return functools.partial(hand.lose_closing_reply, instance_uuid, after_seconds=seconds)
        act = {
            "destroy_guest": hand.destroy_guest,
            "crash_guest": hand.crash_guest,
            "pause_guest": hand.pause_guest,
            "resume_guest": hand.resume_guest,
        }[part.do]
        return functools.partial(self._on_its_host, act, part.host, instance_uuid)

    def _on_its_host(self, act: Callable[[str, str], None], host_name: str | None, instance_uuid: str) -> None:
        names = [host_name] if host_name else [host.name for host in self._world.hosts_of(instance_uuid) if _is_at(host, instance_uuid)]
        for name in names:
            act(name, instance_uuid)

    @staticmethod
    def _host_action(hand: disturbances.Disturbances, part: scenario.DisturbancePart, name: str) -> Callable[[], None]:
        latency_seconds = None if part.latency_ms is None else part.latency_ms / 1000
        actions: dict[str, Callable[[], None]] = {
            "cut_link": functools.partial(hand.cut_link, name, seconds=part.seconds),
            "restore_link": functools.partial(hand.restore_link, name),
            "change_link": functools.partial(hand.change_link, name, mib_per_s=part.mib_per_s, latency_seconds=latency_seconds),
            "kill_daemon": functools.partial(hand.kill_daemon, name, back_after_seconds=part.seconds),
            "silence_daemon": functools.partial(hand.silence_daemon, name, seconds=part.seconds),
            "start_daemon": functools.partial(hand.start_daemon, name),
            "power_off": functools.partial(hand.power_off, name),
        }
        return actions[part.do]

    def _known_host(self, part: scenario.DisturbancePart, path: str) -> str:
        is_core = part.host == "core" and part.do.endswith("_link") and self._world.core is not None
        if part.host is None or (part.host not in self._world.hosts and not is_core):
            self._refuse(f"{path}.host", f"{part.do} needs a host, there is none named {part.host}", "Name one of the hosts.")
        return part.host

    def _known_guest(self, name: str | None, path: str) -> str:
        if name is None or (name not in self._guests and name not in self._guests.values()):
            self._refuse(path, f"there is no guest named {name}", "Name one of the guests.")
        return self._guests.get(name, name)


def _is_at(host: fleet.Host, instance_uuid: str) -> bool:
    # Where it really is: not where it is only arriving, and in post-copy not where it came from.
    local = host.guests[instance_uuid]
    return local.is_incoming is (local.state is guest.GuestState.POST_COPY)


def _draw(draw: random.Random, choices: tuple[T, ...]) -> T:
    return choices[0] if len(choices) == 1 else draw.choice(choices)
