# SPDX-License-Identifier: Apache-2.0
"""The connection that events come on: opened, lost, opened again; it also tells whether the hypervisor can be reached.

Carries no calls but the registration, so that events never wait behind one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import libvirt

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import events, workers
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)
#: Attempts to connect that may hang at a time, each keeping a thread until it ends.
_MAX_HANGING_ATTEMPTS = 4


class _Watched:
    """A connection with what is registered on it."""

    def __init__(self, connection: libvirt.virConnect, registration: events.Registration) -> None:
        self.connection = connection
        self.registration = registration


def _dispose(watched: _Watched) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        # A dead connection has nothing registered any more, and is not touched while its keep-alive may still be at it.
        if watched.connection.isAlive():
            watched.registration.remove()
        watched.connection.close()


class Watch:
    """Keeps one connection for events, and gives each signal to every receiver on the event loop."""

    def __init__(
        self,
        host: str,
        open_connection: Callable[[], libvirt.virConnect],
        section: libvirt_config.LibvirtSection,
        clock: wherry_clock.Clock,
    ) -> None:
        self._host = host
        self._open_connection = open_connection
        self._section = section
        self._clock = clock
        self._lanes: workers.Lanes[_Watched] = self._new_lanes()
        self._lane: workers.Lane[_Watched] | None = None
        self._receivers: list[Callable[[base.Signal], None]] = []
        #: Given the last counters of a transfer that ended well.
        self.on_progress: Callable[[str, dict[str, Any]], None] = lambda _uuid, _statistics: None
        self._connected = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._generation = 0
        #: The last one that was lost; it may be lost before we are told that it was made.
        self._dead_generation = 0
        self.why_lost = "it was not opened"

    # ---------------------------------------------------------------- life

    async def open(self) -> None:
        """Connect and keep connected.

        :raises HypervisorUnavailable: the first connection could not be made; calling again tries again.
        """
        if self._supervisor is not None:
            return
        await self._attempt()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"libvirt-watch-{self._host}")

    async def close(self, seconds: float) -> None:
        """Stop watching."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        self._let_go()
        self.why_lost = "the driver is closed"
        self._connected.clear()
        lanes, self._lanes = self._lanes, self._new_lanes()
        await lanes.close(seconds)

    async def wait_until_connected(self, seconds: float) -> bool:
        """Give whether there is a connection, waiting for one that is being mended."""
        if self._connected.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), seconds)
        return self._connected.is_set()

    # ---------------------------------------------------------------- signals

    def subscribe(self, receiver: Callable[[base.Signal], None]) -> Callable[[], None]:
        """Have signals given to `receiver` until the function given back is called."""
        self._receivers.append(receiver)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._receivers.remove(receiver)

        return unsubscribe

    def emit(self, signal: base.Signal) -> None:
        """Give a signal to every receiver; one that fails does not keep it from the others."""
        for receiver in list(self._receivers):
            try:
                receiver(signal)
            except Exception:
                _log.exception("a receiver of signals failed", host=self._host, signal=signal.kind.value)

    # ---------------------------------------------------------------- inside

    def _new_lanes(self) -> workers.Lanes[_Watched]:
        return workers.Lanes(f"libvirt-{self._host}-watch", _MAX_HANGING_ATTEMPTS, _dispose)

    async def _supervise(self) -> None:
        while True:
            await self._lost.wait()
            self._let_go()
            pause = self._section.reconnect_initial_seconds
            while not self._connected.is_set():
                # The pause comes first: a daemon that was killed is not back at once, and a busy loop would help nobody.
                await self._clock.sleep(pause)
                pause = min(pause * 2, self._section.reconnect_max_seconds)
                try:
                    await self._attempt()
                except errors.HypervisorUnavailable as problem:
                    self.why_lost = str(problem.fields["detail"])
            self.emit(base.Signal(kind=base.SignalKind.CONNECTION, detail="connected"))

    async def _attempt(self) -> None:
        loop = asyncio.get_running_loop()
        self._generation += 1
        generation = self._generation
        is_wanted = True

        def connect(lane: workers.Lane[_Watched]) -> None:
            lane.discard()
            connection = self._open_connection()
            try:
                if is_wanted:
                    registration = events.Registration(
                        connection, loop, self.emit, self._take_progress, lambda reason: self._on_close(generation, reason)
                    )
                    lane.resource = _Watched(connection, registration)
            except libvirt.libvirtError as problem:
                raise libvirt_errors.unavailable(self._host, libvirt_errors.text(problem)) from problem
            finally:
                if lane.resource is None:
                    with contextlib.suppress(libvirt.libvirtError):
                        connection.close()

        lane = None
        try:
            lane = await self._lanes.acquire(self._section.open_timeout_seconds)
            await lane.run(connect, self._section.open_timeout_seconds)
        except workers.LateAnswer:
            raise libvirt_errors.unavailable(self._host, f"no connection within {self._section.open_timeout_seconds:g} s") from None
        else:
            if self._dead_generation == generation:
                raise libvirt_errors.unavailable(self._host, self.why_lost)
            self._lane, lane = lane, None
            self._lost.clear()
            self._connected.set()
        finally:
            if lane is not None:
                is_wanted = False
                self._lanes.release(lane)

    def _take_progress(self, instance_uuid: str, statistics: dict[str, Any]) -> None:
        self.on_progress(instance_uuid, statistics)

    def _on_close(self, generation: int, reason: str) -> None:
        # Of an earlier connection.
        if generation != self._generation:
            return
        self._dead_generation = generation
        self.why_lost = f"the connection was lost: {reason}"
        self._connected.clear()
        self._lost.set()
        _log.warning("the connection to libvirt was lost", host=self._host, reason=reason)
        self.emit(base.Signal(kind=base.SignalKind.CONNECTION, detail=self.why_lost))

    def _let_go(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            self._lanes.release(lane)
