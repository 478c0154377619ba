# SPDX-License-Identifier: Apache-2.0
"""Make the host known to the conductors, and keep saying that its agent lives.

Says nothing about guests, and no command waits for it: an agent works as well while no conductor answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from wherry import background, errors
from wherry.agent import backoff
from wherry.agent import parts as wherry_parts
from wherry.model import host
from wherry.rpc import addresses, messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Registration:
    """One host's.

    :param predecessors: incarnations that had the journal before, the last of them last; dead for certain, since the journal is locked.
    :param on_registered: called after each registration.
    """

    def __init__(self, parts: wherry_parts.Parts, predecessors: Sequence[str], on_registered: Callable[[], None]) -> None:
        self._parts = parts
        self._predecessors = tuple(predecessors)
        self._on_registered = on_registered
        self._again = asyncio.Event()
        #: Whether a conductor has answered the last thing that was said.
        self.is_heard = False
        #: Set once a conductor has said that the name or the hypervisor is another's; `refusal` says why.
        self.is_refused = asyncio.Event()
        self.refusal: errors.HostRefused | None = None

    def again(self) -> None:
        """Register anew: a conductor does not know this incarnation."""
        self._again.set()

    async def run(self, description: host.HostDescription) -> None:
        """Register, then beat; register anew when told to. Ends only when the host is refused."""
        while await self._register(self._parts.description or description):
            self._on_registered()
            await self._beat()

    async def sign_off(self) -> None:
        """Tell that this agent stops on purpose."""
        message = messages.SignOff(name=self._parts.host.name, incarnation=self._parts.incarnation)
        try:
            await self._parts.client.cast(addresses.conductor(), message)
        except errors.Error as error:
            _log.debug("The agent stops without a word", host=self._parts.host.name, slug=error.slug)

    async def _register(self, description: host.HostDescription) -> bool:
        section = self._parts.config.agent
        pauses = backoff.Backoff(section.report_retry_interval_seconds, section.report_retry_max_seconds)
        while True:
            request = messages.RegisterHost(
                name=self._parts.host.name,
                incarnation=self._parts.incarnation,
                description=description,
                replaces=self._predecessors[-1] if self._predecessors else "",
                # The last one may have died before anybody heard of it.
                replaces_earlier=self._predecessors[:-1],
                zone=self._parts.config.zone_of(self._parts.host.name),
            )
            try:
                await self._parts.client.call(addresses.conductor(), request, section.report_timeout_seconds)
            except errors.HostRefused as error:
                _log.error("The host was refused", host=self._parts.host.name, error=error.message, remedy=error.remedy)
                self.refusal = error
                self.is_refused.set()
                return False
            except errors.Error as error:
                if not pauses.has_failed:
                    _log.warning("The host could not be registered yet", host=self._parts.host.name, slug=error.slug, error=error.message)
                await self._parts.clock.sleep(pauses.next_seconds())
                continue
            self.is_heard = True
            _log.info("The host is registered", host=self._parts.host.name, incarnation=self._parts.incarnation)
            return True

    async def _beat(self) -> None:
        """Beat until this incarnation is not known any more."""
        self._again.clear()
        interval = self._parts.config.default.report_interval_seconds
        while not await background.wait_for_wake(self._again, interval):
            beat = messages.Heartbeat(name=self._parts.host.name, incarnation=self._parts.incarnation)
            try:
                answer = await self._parts.client.call(addresses.conductor(), beat, interval)
            except errors.Error as error:
                if self.is_heard:
                    _log.warning("No conductor hears the agent", host=self._parts.host.name, slug=error.slug, error=error.message)
                self.is_heard = False
                continue
            if not self.is_heard:
                _log.info("A conductor hears the agent again", host=self._parts.host.name)
            self.is_heard = True
            if not answer.is_known:
                return
