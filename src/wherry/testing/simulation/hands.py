# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with guests and their transfers: hands laid on them, replies that are lost, blows at a step. Each has its method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wherry.drivers import simulated
from wherry.model import guest
from wherry.testing.simulation import process, schedule, system, watch

_S = guest.GuestState


class Hand(Protocol):
    """Whose these are."""

    is_calm: bool
    undo: list[Callable[[], None]]
    unheard: dict[str, None]

    def touch(self, name: str) -> None:
        """Note that somebody laid hands on a guest."""

    def struck(self, what: str, host: str) -> None:
        """Let another disturbance befall a host."""


class Hands:
    """The disturbances of guests of one schedule."""

    def __init__(self, of: system.System, hand: Hand, watcher: watch.Watch) -> None:
        self._system = of
        self._hand = hand
        self._watch = watcher
        self._disturb = simulated.Disturbances(of.world)
        self._chance = of.chance.stream("hands")

    def do_lose_closing_reply(self, deed: schedule.Deed) -> None:
        """In the guest's transfer under way, and in its next."""
        uuid = self._system.uuid(deed.name)
        self._hand.unheard[deed.name] = None
        # Not at once: an agent looks twice a second, and what it cannot have seen it cannot mend.
        after = simulated.LOST_REPLY_SECONDS if deed.keys["delay"] > 1.0 else 2.0 + 4.0 * deed.keys["delay"]

        def lose() -> None:
            self._disturb.lose_closing_reply(uuid, after_seconds=after)

        lose()
        self._hand.undo.append(self._disturb.on_step(uuid, "started", lose))

    def do_break_post_copy(self, deed: schedule.Deed) -> None:
        """In the guest's transfer under way, and in its next one that comes so far."""
        uuid = self._system.uuid(deed.name)

        def break_it() -> None:
            if not self._hand.is_calm:
                self._disturb.break_post_copy(uuid)

        break_it()

        def break_it_later() -> None:
            self._system.world.time.after(deed.keys["delay"] * 0.3, break_it)

        self._hand.undo.append(self._disturb.on_step(uuid, "post_copy", break_it_later))

    def do_strike_at_step(self, deed: schedule.Deed) -> None:
        """Let something befall a host of the guest's next transfer, at the moment of one of its steps."""
        uuid = self._system.uuid(deed.name)

        def strike() -> None:
            order = self._watch.order_of(uuid)
            if order is not None and not self._hand.is_calm:
                host = (order.source if deed.keys["side"] == "source" else order.destination).name
                self._system.trace.note(f"!! {deed.keys['deed']} at {host}, as {deed.name} {deed.keys['step']}")
                # A moment later: the step itself is not to be cut in two.
                process.outside(lambda: self._hand.struck(deed.keys["deed"], host))

        self._hand.undo.append(self._disturb.on_step(uuid, deed.keys["step"], strike))

    def do_destroy_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.destroy_guest)

    def do_crash_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.crash_guest)

    def do_pause_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.pause_guest)

    def do_resume_guest(self, deed: schedule.Deed) -> None:
        self._lay_hands(deed, self._disturb.resume_guest)

    def _lay_hands(self, deed: schedule.Deed, what: Callable[[str, str], None]) -> None:
        uuid = self._system.uuid(deed.name)
        if hosts := [host.name for host in self._system.world.hosts_of(uuid) if host.guests[uuid].state is not _S.SHUT_OFF]:
            self._hand.touch(deed.name)
            what(hosts[self._chance.randrange(len(hosts))], uuid)
