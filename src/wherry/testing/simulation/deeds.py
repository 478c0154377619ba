# SPDX-License-Identifier: Apache-2.0
"""Does what a schedule says: what clients ask, and what goes wrong. Each that goes wrong has its method: `_do_` and its name."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing.simulation import asking, hands, process, schedule, system, watch
from wherry.testing.simulation import clients as clients_module
from wherry.testing.simulation import trace as traces

_S = guest.GuestState


class Deeds:
    """The hand of one schedule, and what it must remember for the judge."""

    def __init__(
        self, of: system.System, plan: schedule.Schedule, clients: clients_module.Clients, trace: traces.Trace, watcher: watch.Watch
    ) -> None:
        self._system = of
        self._plan = plan
        self.asking = asking.Asking(of, clients)
        self._trace = trace
        self._watch = watcher
        self._disturb = simulated.Disturbances(of.world)
        self._chance = of.chance.stream("deeds")
        self.undo: list[Callable[[], None]] = []
        self._links = {name: host.uplink.mib_per_s for name, host in of.world.hosts.items()}
        #: Guests on which somebody else laid hands: stopped, paused, resumed.
        self.touched: dict[str, None] = {}
        #: Guests whose source may not have heard of their arrival.
        self.unheard: dict[str, None] = {}
        #: Guests that are paused at some time because somebody wants them to be.
        self.pausable = {one.name for one in plan.guests if one.is_paused} | {deed.name for deed in plan.deeds if _is_pause(deed)}
        self.is_calm = False
        self._hands = hands.Hands(of, self, watcher)
        of.stalling = lambda: 1.0 + self._chance.random() * 9.0
        of.disturb = self.struck
        of.absence = self._absence

    def begin(self) -> None:
        """Let the weather begin, and set a timer for every deed."""
        weather, bus, trouble = self._plan.weather, self._system.bus, self._system.trouble
        bus.loss, bus.doubling, bus.slowness, bus.most_seconds = weather.loss, weather.doubling, weather.slowness, weather.slow_seconds
        trouble.conflicts, trouble.refusals, trouble.lost_answers = weather.conflicts, weather.refusals, weather.lost_answers
        trouble.slowness, trouble.most_seconds = weather.database_slowness, weather.database_seconds
        self._system.perils.rates = dict(weather.death_rates)
        self._system.perils.strikes = [dataclasses.replace(strike) for strike in self._plan.strikes]
        self.asking.expect(self._plan.deeds)
        for deed in self._plan.deeds:
            process.outside(functools.partial(self._do, deed), deed.at)

    def calm(self) -> None:
        """Let nothing go wrong any more, and mend what did."""
        self.is_calm = True
        self._trace.note("== from here on nothing goes wrong")
        self._system.perils.calm()
        self._system.bus.calm()
        self._system.trouble.calm()
        self._system.world.faults.clear()
        for part in self._system.parts.values():
            part.of.no_database_until = 0.0
        for undo in self.undo:
            undo()
        for name, host in self._system.world.hosts.items():
            self._disturb.change_link(name, mib_per_s=self._links[name])
            self._disturb.restore_link(name)
            if host.daemon is not simulated.Daemon.UP:
                self._disturb.start_daemon(name)

    def _absence(self) -> float:
        return 0.05 + self._chance.random() ** 3 * (1.0 if self.is_calm else self._plan.weather.most_absent_seconds)

    def _do(self, deed: schedule.Deed) -> None:
        name = deed.what
        self._trace.note(f"** {name} {deed.name} {deed.seconds:.1f} {deed.keys or ''}")
        if name != "create" and not self._system.is_known(deed.name):
            # A server that was to be made and was not, or not yet.
            self.asking.pass_over(deed)
            return
        asked = self.asking.request(deed)
        if asked is not None:
            process.spawn_outside(asked, f"client {name}")
        elif not self.is_calm:
            done = getattr(self._hands, f"do_{name}", None) or getattr(self, f"_do_{name}")
            done(deed)

    # ------------------------------------------------------- what goes wrong: processes

    def _do_kill_agent(self, deed: schedule.Deed) -> None:
        part = self._system.agent_of(deed.name)
        if part is not None:
            self._system.kill(part.of)

    def _do_restart_agent(self, deed: schedule.Deed) -> None:
        part = self._system.agent_of(deed.name)
        if part is not None:
            process.spawn_outside(self._system.stop(part.of), "stop an agent")

    def _do_crash_machine(self, deed: schedule.Deed) -> None:
        """The agent's machine loses its power; the hypervisor is another machine, which does not."""
        self._do_kill_agent(deed)
        lost = self._system.disks[deed.name].lose_power(self._chance)
        for told in self._system.on_loss:
            told(deed.name)
        self._system.boots[deed.name].reboot()
        self._trace.note(f"-- the machine of {deed.name}'s agent is started anew; {lost} notes were not on its disk")

    def _do_lose_power(self, deed: schedule.Deed) -> None:
        """The host loses its power, with everything on it."""
        host = self._system.world.hosts[deed.name]
        for local in host.guests.values():
            self.touch(self._system.name_of(local.spec.uuid))
        self._do_crash_machine(deed)
        self._disturb.power_off(deed.name)
        self._disturb.at(self._system.world.time.now() + 1.0 + deed.seconds, lambda: self._disturb.start_daemon(deed.name))

    def _do_lose_host(self, deed: schedule.Deed) -> None:
        """As `lose_power`, for longer; an operator sees it, says so, and takes it back when the host is there again."""
        lasting = dataclasses.replace(deed, seconds=8.0 + 2 * deed.seconds)
        self._do_lose_power(lasting)
        back_at = self._system.clock.monotonic() + 1.0 + lasting.seconds
        process.spawn_outside(self.asking.call_dead(deed.name, self._chance.random() * 4.0, back_at), f"operator of {deed.name}")

    def _do_kill_conductor(self, _deed: schedule.Deed) -> None:
        self._kill_one("conductor")

    def _do_kill_api(self, _deed: schedule.Deed) -> None:
        self._kill_one("api")

    def _kill_one(self, kind: str) -> None:
        parts = self._system.of_kind(kind)
        if parts:
            self._system.kill(parts[self._chance.randrange(len(parts))].of)

    def _do_stop_conductor(self, _deed: schedule.Deed) -> None:
        parts = self._system.of_kind("conductor")
        if parts:
            process.spawn_outside(self._system.stop(parts[self._chance.randrange(len(parts))].of), "stop a conductor")

    def _do_stall_conductor(self, deed: schedule.Deed) -> None:
        """One of them stops, as a paused machine does, and goes on later as if nothing had been."""
        if parts := self._system.of_kind("conductor"):
            self._system.stall(parts[self._chance.randrange(len(parts))].of, 1.0 + deed.seconds)

    def _do_stall_agent(self, deed: schedule.Deed) -> None:
        if (part := self._system.agent_of(deed.name)) is not None:
            self._system.stall(part.of, 1.0 + deed.seconds)

    def _do_cut_database(self, deed: schedule.Deed) -> None:
        """The database answers everybody but one conductor."""
        if parts := self._system.of_kind("conductor"):
            parts[self._chance.randrange(len(parts))].of.no_database_until = self._system.clock.monotonic() + 1.0 + deed.seconds

    def _do_reload(self, deed: schedule.Deed) -> None:
        self._system.reload({**self._plan.options, **deed.keys})

    def _do_lose_database(self, deed: schedule.Deed) -> None:
        self._system.trouble.away_until = self._system.clock.monotonic() + deed.seconds

    # ------------------------------------------------------- what goes wrong: hosts

    def _do_kill_daemon(self, deed: schedule.Deed) -> None:
        self._disturb.kill_daemon(deed.name, back_after_seconds=0.2 + deed.seconds)

    def _do_silence_daemon(self, deed: schedule.Deed) -> None:
        self._disturb.silence_daemon(deed.name, seconds=0.2 + deed.seconds)

    def _do_cut_link(self, deed: schedule.Deed) -> None:
        self._disturb.cut_link(deed.name, seconds=0.2 + deed.seconds)

    def _do_slow_link(self, deed: schedule.Deed) -> None:
        self._disturb.change_link(deed.name, mib_per_s=self._links[deed.name] / 10)
        self._system.world.time.after(deed.seconds, lambda: self._disturb.change_link(deed.name, mib_per_s=self._links[deed.name]))

    def _do_cut_off(self, deed: schedule.Deed) -> None:
        """Nobody hears the host's agent any more, for a while; sometimes the broker notices."""
        bus = self._system.bus
        bus.cut[deed.name] = None
        if self._chance.random() < 0.5:
            bus.gone[deed.name] = None

        def mend() -> None:
            bus.cut.pop(deed.name, None)
            bus.gone.pop(deed.name, None)

        process.outside(mend, 0.2 + deed.seconds)

    def _do_fail_calls(self, deed: schedule.Deed) -> None:
        keys = deed.keys
        fault = simulated.CallFault(
            kind=simulated.FaultKind(keys["kind"]),
            method=keys["method"],
            host=deed.name,
            # A crash without end would leave no hypervisor.
            nth=keys["nth"] if keys["kind"] != "crash" else max(1, keys["nth"]),
            when=simulated.When(keys["when"]),
            slug=keys["slug"],
            seconds=keys["seconds"],
        )
        remove = self._system.world.faults.add(fault)
        process.outside(remove, 1.0 + deed.seconds)
        # The last call that meets it may take that much longer.
        longest = max(keys["seconds"], self._plan.call_timeout_seconds)
        self._watch.hampered[deed.name] = self._system.clock.monotonic() + 1.0 + deed.seconds + longest

    # -------------------------------------------------------------- for the hands

    def touch(self, name: str) -> None:
        """Note that somebody laid hands on a guest."""
        self.touched[name] = None
        self._watch.stoppable[self._system.uuid(name)] = None

    def struck(self, what: str, host: str) -> None:
        """Let a disturbance befall a host, for a while."""
        getattr(self, f"_do_{what}")(schedule.Deed(at=0.0, what=what, name=host, seconds=self._chance.random() * 10.0))


def _is_pause(deed: schedule.Deed) -> bool:
    return deed.what == "pause_guest" or deed.keys.get("action") == "pause"


def state_asked(actions: list[Any]) -> _S | None:
    """Give the state that the last power action that succeeded has left a guest in; None when there was none."""
    states = {"pause": _S.PAUSED, "unpause": _S.RUNNING, "start": _S.RUNNING, "stop": _S.SHUT_OFF}
    latest, found = -math.inf, None
    for action in actions:
        done = [event for event in action.events if event.result is not None and event.result.value == "Success" and event.finished_at]
        if action.action in states and done:
            at = done[0].finished_at.timestamp()
            if at > latest:
                latest, found = at, states[action.action]
    return found
