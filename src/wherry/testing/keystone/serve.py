# SPDX-License-Identifier: Apache-2.0
"""Runs in Keystone's own environment: serves it from a socket that the starter listens on, and writes a line for each request.

It ends with whoever started it, also when that one is killed.
A request with X-Expiration-Seconds is answered as if [token] expiration said so, which Keystone reads anew for each token.
Usage: serve.py SOCKET_FD REQUESTS_FILE THREADS, with OS_KEYSTONE_CONFIG_DIR set.
"""

from __future__ import annotations

import ctypes
import importlib
import pathlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def recorded(application: WsgiApplication, path: pathlib.Path) -> WsgiApplication:
    """Write down what is asked, so that tests can count it."""
    conf = importlib.import_module("keystone.conf").CONF
    one_at_a_time = threading.Lock()

    def record(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with path.open("a") as lines:
            lines.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}\n")
        seconds = environ.get("HTTP_X_EXPIRATION_SECONDS")
        if seconds is None:
            return application(environ, start_response)
        with one_at_a_time:
            conf.set_override("expiration", int(seconds), group="token")
            try:
                return application(environ, start_response)
            finally:
                conf.clear_override("expiration", group="token")

    return record


def end_with_starter() -> None:
    """Have the kernel kill this process when the one that started it ends."""
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)


def main(descriptor: str, requests_file: str, threads: str) -> None:
    """Serve until killed."""
    end_with_starter()
    # Keystone's module reads the command line of whoever imports it.
    sys.argv = sys.argv[:1]
    application = importlib.import_module("keystone.wsgi.api").application
    listener = socket.socket(fileno=int(descriptor))
    importlib.import_module("waitress").serve(recorded(application, pathlib.Path(requests_file)), sockets=[listener], threads=int(threads))


if __name__ == "__main__":
    main(*sys.argv[1:])
