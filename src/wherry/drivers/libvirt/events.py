# SPDX-License-Identifier: Apache-2.0
"""libvirt's event loop, in one daemon thread for the whole process, and what is registered with it on one connection.

Never acts on an event: hands a hint over to the asyncio loop and returns. `libvirtaio` is not used: it is not thread-safe, and events
came late or were lost while another thread was in a migrate call.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import libvirt

from wherry.drivers import base
from wherry.telemetry import logs

_log = logs.get_logger(__name__)
_lock = threading.Lock()
#: Set once libvirt's event loop, one for the process, runs.
_running = threading.Event()

#: Names of lifecycle events and their details, for logs and Signal.detail.
_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "pmsuspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}
_DETAILS = {
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY): "postcopy",
    (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED): "postcopy failed",
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY): "postcopy",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): "migrated",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "failed",
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
}
_CLOSE_REASONS = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "it failed",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "the daemon closed it",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "the daemon gave no sign of life",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "it was closed here",
}


def start() -> None:
    """Start the event loop, once in a process. Must come before the first connection is opened, or it gets no events."""
    with _lock:
        if _running.is_set():
            return
        # Without a handler libvirt prints every error to standard error as well.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _running.set()


def _run() -> None:
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as problem:
            _log.warning("libvirt's event loop stumbled", error=str(problem))
            # Never set: only a pause, so that a lasting error does not take a processor.
            pause.wait(0.1)


class Registration:
    """What is registered on one connection. Made and removed in the thread that uses the connection."""

    def __init__(
        self,
        connection: libvirt.virConnect,
        loop: asyncio.AbstractEventLoop,
        on_signal: Callable[[base.Signal], None],
        on_progress: Callable[[str, dict[str, Any]], None],
        on_close: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._loop = loop
        self._on_signal = on_signal
        self._on_progress = on_progress
        self._on_close = on_close
        self._ids: list[int] = []
        register = connection.domainEventRegisterAny
        self._ids.append(register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None))
        self._ids.append(register(None, libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, self._iteration, None))
        self._ids.append(register(None, libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, self._job_completed, None))
        connection.registerCloseCallback(self._closed, None)

    def remove(self) -> None:
        """Take back what was registered, as far as the connection still allows."""
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.unregisterCloseCallback()
        for number in self._ids:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.domainEventDeregisterAny(number)

    def _hand_over(self, action: Callable[..., None], *arguments: object) -> None:
        # RuntimeError: the asyncio loop was closed, so nobody listens any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action, *arguments)

    def _lifecycle(self, _connection: object, domain: libvirt.virDomain, event: int, detail: int, _opaque: object) -> None:
        words = (_LIFECYCLE.get(event, str(event)), _DETAILS.get((event, detail), ""))
        signal = base.Signal(
            kind=base.SignalKind.LIFECYCLE, instance_uuid=domain.UUIDString(), detail=" ".join(word for word in words if word)
        )
        self._hand_over(self._on_signal, signal)

    def _iteration(self, _connection: object, domain: libvirt.virDomain, iteration: int, _opaque: object) -> None:
        signal = base.Signal(kind=base.SignalKind.ITERATION, instance_uuid=domain.UUIDString(), detail=str(iteration))
        self._hand_over(self._on_signal, signal)

    def _job_completed(self, _connection: object, domain: libvirt.virDomain, statistics: dict[str, Any], _opaque: object) -> None:
        if statistics.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return
        # Comes only on success, and only at the source; it carries the last counters, which the source cannot be asked for any more.
        self._hand_over(self._on_progress, domain.UUIDString(), dict(statistics))
        self._hand_over(
            self._on_signal, base.Signal(kind=base.SignalKind.TRANSFER_ENDED, instance_uuid=domain.UUIDString(), detail="completed")
        )

    def _closed(self, _connection: object, reason: int, _opaque: object) -> None:
        self._hand_over(self._on_close, _CLOSE_REASONS.get(reason, f"reason {reason}"))
