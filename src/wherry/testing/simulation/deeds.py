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
from wherry.testing.simulation import asking, process, schedule, system, watch
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
        self._undo: list[Callable[[], None]] = []
        self._links = {name: host.uplink.mib_per_s for name, host in of.world.hosts.items()}
        #: Guests on which somebody else laid hands: stopped, paused, resumed.
        self.touched: dict[str, None] = {}
        #: Guests whose source may not have heard of their arrival.
        self.unheard: dict[str, None] = {}
        self._is_calm = False
        of.disturb = self._struck
        of.absence = self._absence

    def begin(self) -> None:
        """Let the weather begin, and set a timer for every deed."""
        weather, bus, trouble = self._plan.weather, self._system.bus, self._system.trouble
        bus.loss, bus.doubling, bus.slowness, bus.most_seconds = weather.loss, weather.doubling, weather.slowness, weather.slow_seconds
        trouble.conflicts, trouble.refusals, trouble.lost_answers = weather.conflicts, weather.refusals, weather.lost_answers
        trouble.slowness, trouble.most_seconds = weather.database_slowness, weather.database_seconds
        self._system.perils.rates = dict(weather.death_rates)
        self._system.perils.strikes = [dataclasses.replace(strike) for strike in self._plan.strikes]
        for deed in self._plan.deeds:
            process.outside(functools.partial(self._do, deed), deed.at)

    def calm(self) -> None:
        """Let nothing go wrong any more, and mend what did."""
        self._is_calm = True
        self._trace.note("== from here on nothing goes wrong")
        self._system.perils.calm()
        self._system.bus.calm()
        self._system.trouble.calm()
        self._system.world.faults.clear()
        for undo in self._undo:
            undo()
        for name, host in self._system.world.hosts.items():
            self._disturb.change_link(name, mib_per_s=self._links[name])
            self._disturb.restore_link(name)
            if host.daemon is not simulated.Daemon.UP:
                self._disturb.start_daemon(name)

    def _absence(self) -> float:
        return 0.05 + self._chance.random() ** 3 * (1.0 if self._is_calm else self._plan.weather.most_absent_seconds)

    def _do(self, deed: schedule.Deed) -> None:
        name = deed.what
        self._trace.note(f"** {name} {deed.name} {deed.seconds:.1f} {deed.keys or ''}")
        asked = getattr(self.asking, f"ask_{name}", None)
        if asked is not None:
            process.spawn_outside(asked(deed), f"client {name}")
        elif not self._is_calm:
            getattr(self, f"_do_{name}")(deed)

    def _struck(self, what: str, host: str) -> None:
        getattr(self, f"_do_{what}")(schedule.Deed(at=0.0, what=what, name=host, seconds=self._chance.random() * 10.0))

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
        self._system.boots[deed.name].reboot()
        self._trace.note(f"-- the machine of {deed.name}'s agent is started anew; {lost} notes were not on its disk")

    def _do_lose_power(self, deed: schedule.Deed) -> None:
        """The host loses its power, with everything on it."""
        host = self._system.world.hosts[deed.name]
        for local in host.guests.values():
            self._touch(local.spec.name)
        self._do_crash_machine(deed)
        self._disturb.power_off(deed.name)
        self._disturb.at(self._system.world.time.now() + 1.0 + deed.seconds, lambda: self._disturb.start_daemon(deed.name))

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

    # ------------------------------------------------------- what goes wrong: guests

    def _do_lose_closing_reply(self, deed: schedule.Deed) -> None:
        """In the guest's transfer under way, and in its next."""
        uuid = self._system.uuid(deed.name)
        self.unheard[deed.name] = None
        # Not at once: an agent looks twice a second, and what it cannot have seen it cannot mend.
        after = simulated.LOST_REPLY_SECONDS if deed.keys["delay"] > 1.0 else 2.0 + 4.0 * deed.keys["delay"]

        def lose() -> None:
            self._disturb.lose_closing_reply(uuid, after_seconds=after)

        lose()
        self._undo.append(self._disturb.on_step(uuid, "started", lose))

    def _do_break_post_copy(self, deed: schedule.Deed) -> None:
        """In the guest's transfer under way, and in its next one that comes so far."""
        uuid = self._system.uuid(deed.name)

        def break_it() -> None:
            if not self._is_calm:
                self._disturb.break_post_copy(uuid)

        break_it()
        self._undo.append(self._disturb.on_step(uuid, "post_copy", lambda: self._disturb_later(deed.keys["delay"] * 0.3, break_it)))

    def _do_strike_at_step(self, deed: schedule.Deed) -> None:
        """Let something befall a host of the guest's next transfer, at the moment of one of its steps."""
        uuid = self._system.uuid(deed.name)

        def strike() -> None:
            order = self._watch.order_of(uuid)
            if order is not None and not self._is_calm:
                host = (order.source if deed.keys["side"] == "source" else order.destination).name
                self._trace.note(f"!! {deed.keys['deed']} at {host}, as {deed.name} {deed.keys['step']}")
                # A moment later: the step itself is not to be cut in two.
                process.outside(lambda: self._struck(deed.keys["deed"], host))

        self._undo.append(self._disturb.on_step(uuid, deed.keys["step"], strike))

    def _do_destroy_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.destroy_guest)

    def _do_crash_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.crash_guest)

    def _do_pause_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.pause_guest)

    def _do_resume_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.resume_guest)

    def _lay_hands(self, deed: schedule.Deed, what: Callable[[str, str], None]) -> None:
        uuid = self._system.uuid(deed.name)
        if hosts := [host.name for host in self._system.world.hosts_of(uuid) if host.guests[uuid].state is not _S.SHUT_OFF]:
            self._touch(deed.name)
            what(hosts[self._chance.randrange(len(hosts))], uuid)

    def _touch(self, name: str) -> None:
        self.touched[name] = None
        self._watch.stoppable[self._system.uuid(name)] = None

    def _disturb_later(self, seconds: float, action: Callable[[], None]) -> None:
        self._system.world.time.after(seconds, action)


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
