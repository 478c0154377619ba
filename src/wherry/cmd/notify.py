# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the service is getting on (sd_notify(3)): datagrams to the socket that the environment names, if it names one."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Notifier:
    """The way to the service manager that started this process, if one did."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte of an abstract address.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        is_watched = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_us = int(environ.get("WATCHDOG_USEC") or 0) if is_watched else 0

    @property
    def watchdog_interval_seconds(self) -> float | None:
        """How often the service manager wants to hear `alive`: twice in its limit, as sd_watchdog_enabled(3) advises. None: never."""
        return self._watchdog_us / 2e6 if self._address and self._watchdog_us > 0 else None

    def ready(self, status: str) -> None:
        """Tell that the start is over."""
        self._tell("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """Tell in words what is going on."""
        self._tell(f"STATUS={status}")

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._tell("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        """Tell that the event loop turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
                # A manager that does not read is no reason to stand still.
                way.setblocking(False)
                way.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self._address)
        except OSError as error:
            _log.debug("The service manager cannot be told.", error=str(error))
