# SPDX-License-Identifier: Apache-2.0
"""Runs in Glance's own environment: serves it from a socket that the starter listens on. It ends with its starter.

Usage: serve.py SOCKET_FD, with OS_GLANCE_CONFIG_DIR set.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import socket
import sys


def main(descriptor: str) -> None:
    """Serve until killed."""
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    # Glance's modules read the command line of whoever imports them.
    sys.argv = sys.argv[:1]
    application = importlib.import_module("glance.wsgi.api").application
    importlib.import_module("waitress").serve(application, sockets=[socket.socket(fileno=int(descriptor))], threads=8)


if __name__ == "__main__":
    main(*sys.argv[1:])
