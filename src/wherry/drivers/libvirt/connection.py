# SPDX-License-Identifier: Apache-2.0
"""One host's connections: for control, one call at a time each, and one for every migration under way.

Knows nothing of guests. Two threads on one connection are never allowed: that crashed the process when its keep-alive fired, and
libvirtd serves five calls of a client at a time, so that with six migrations on one connection an abort took 11 s.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

import libvirt

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.drivers.libvirt import events, watch, workers

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

T = TypeVar("T")
P = ParamSpec("P")
Connection: TypeAlias = libvirt.virConnect
TransferLane: TypeAlias = workers.Lane[Connection]
#: Migrations out of one host for which there is always a thread: the limit that counts is the conductors', who may be configured apart.
_LEAST_TRANSFERS = 9


class _NotOpen(Exception):
    """The lane's connection must be opened first."""


def dispose(connection: Connection) -> None:
    """Close in the thread that used it: closing asks the daemon, and would keep the event loop waiting."""
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def is_alive(connection: Connection) -> bool:
    """Whether libvirt believes the connection to be up; asks nobody."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def open_at(uri: str, host: str, section: libvirt_config.LibvirtSection) -> Connection:
    """Open a connection with keep-alive. Blocks without a bound of libvirt's: a stopped daemon's kernel still accepts.

    :raises HypervisorUnavailable: when it cannot be opened.
    """
    events.start()
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as problem:
        raise libvirt_errors.unavailable(host, libvirt_errors.text(problem)) from problem
    try:
        # Without it, calls to a daemon that stopped block for ever.
        connection.setKeepAlive(section.keepalive_interval_seconds, section.keepalive_count)
    except libvirt.libvirtError as problem:
        dispose(connection)
        raise libvirt_errors.unavailable(host, libvirt_errors.text(problem)) from problem
    return connection


class Link:
    """The way to one host's libvirt."""

    def __init__(self, settings: base.HostSettings, section: libvirt_config.LibvirtSection, clock: wherry_clock.Clock) -> None:
        self.host = settings.name
        self.uri = settings.connection_uri
        self._section = section
        self._clock = clock
        self._max_transfers = settings.max_transfers
        control = section.max_control_connections
        self._control: workers.Lanes[Connection] = workers.Lanes(f"libvirt-{self.host}", control, dispose)
        self._transfers: workers.Lanes[Connection] = workers.Lanes(f"libvirt-{self.host}-out", _LEAST_TRANSFERS, dispose)
        self.watch = watch.Watch(self.host, self._open, section, clock)
        self._is_closed = False

    async def open(self) -> None:
        """Connect; later losses are mended by the watch.

        :raises HypervisorUnavailable: when nothing answers in time.
        """
        if self._is_closed:
            self._is_closed = False
            control, transfers = self._control, self._transfers
            self._control = workers.Lanes(control.name, control.limit, dispose)
            self._transfers = workers.Lanes(transfers.name, transfers.limit, dispose)
        await self.watch.open()

    async def close(self) -> None:
        """Let go of everything; never waits for a daemon that does not answer."""
        self._is_closed = True
        seconds = self._section.close_timeout_seconds
        await self.watch.close(seconds)
        await self._control.close(seconds)
        await self._transfers.close(seconds)

    async def call(
        self,
        what: str,
        function: Callable[Concatenate[Connection, P], T],
        *arguments: P.args,
        **keywords: P.kwargs,
    ) -> T:
        """Run a function on a control connection, bounded by call_timeout_seconds.

        :raises HypervisorUnavailable: when the daemon does not answer, or the connection is lost and does not come back.
        """
        return await self.call_within(
            self._section.call_timeout_seconds, what, lambda connection: function(connection, *arguments, **keywords)
        )

    async def call_within(self, seconds: float, what: str, function: Callable[[Connection], T]) -> T:
        """Run a function on a control connection with a bound of its own, waits for the connection included."""
        ends_at = self._clock.monotonic() + seconds
        await self._require_connected(min(seconds, self._section.open_timeout_seconds))
        try:
            async with self._control.lent(ends_at - self._clock.monotonic()) as lane:
                return await self._on_lane(lane, ends_at, what, function)
        except workers.LateAnswer:
            raise libvirt_errors.unavailable(self.host, f"no answer within {seconds:g} s to: {what}") from None

    @contextlib.asynccontextmanager
    async def transfer_lane(self) -> AsyncIterator[TransferLane]:
        """Lend a connection for one migrate call.

        :raises TransferLimitReached: when all are in use.
        """
        self._transfers.limit = self._transfer_limit()
        try:
            lane = await self._transfers.acquire(0)
        except workers.LateAnswer:
            raise errors.HypervisorFailure(
                host=self.host,
                what="start another migration",
                detail=f"{self._transfers.limit} are under way, as many as [libvirt] max_worker_threads and "
                "[DEFAULT] max_concurrent_live_migrations allow",
            ) from None
        try:
            yield lane
        finally:
            self._transfers.release(lane)

    async def run_transfer(self, lane: TransferLane, function: Callable[[Connection], None]) -> None:
        """Run the call that migrates, for as long as it takes."""
        await self._on_lane(lane, None, "migrate", function)

    # ---------------------------------------------------------------- inside

    def _transfer_limit(self) -> int:
        if self._section.max_worker_threads:
            return self._section.max_worker_threads - self._section.max_control_connections - 1
        # As many again for calls that hang on after their migration's slot is free, as they do when a closing reply was lost.
        wanted = self._max_transfers()
        return max(_LEAST_TRANSFERS, 2 * wanted) if wanted else sys.maxsize

    async def _require_connected(self, seconds: float) -> None:
        if self._is_closed:
            raise libvirt_errors.unavailable(self.host, "the driver is closed")
        if not await self.watch.wait_until_connected(seconds):
            raise libvirt_errors.unavailable(self.host, self.watch.why_lost)

    async def _on_lane(self, lane: TransferLane, ends_at: float | None, what: str, function: Callable[[Connection], T]) -> T:
        def work(lane: TransferLane) -> T:
            connection = lane.resource
            if connection is None or not is_alive(connection):
                raise _NotOpen
            try:
                return function(connection)
            except libvirt.libvirtError as problem:
                raise libvirt_errors.translate(problem, self.host, what, is_connected=is_alive(connection)) from problem

        def remaining() -> float | None:
            return None if ends_at is None else max(0.0, ends_at - self._clock.monotonic())

        try:
            return await lane.run(work, remaining())
        except _NotOpen:
            left, limit = remaining(), self._section.open_timeout_seconds
            await lane.run(self._open_lane, limit if left is None else min(limit, left))
            return await lane.run(work, remaining())

    def _open_lane(self, lane: TransferLane) -> None:
        lane.discard()
        lane.resource = self._open()

    def _open(self) -> Connection:
        """Open one more connection."""
        return open_at(self.uri, self.host, self._section)
