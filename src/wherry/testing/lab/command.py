# SPDX-License-Identifier: Apache-2.0
"""Runs programs and waits for conditions, each with a limit of time.

Must not know what the programs are for.
"""

from __future__ import annotations

import collections.abc
import subprocess
import threading
import time

from wherry.testing.lab import errors

#: How long a program may take when its caller names no limit.
DEFAULT_TIMEOUT_SECONDS = 30.0

#: What the lab's programs see of the environment: the same on every machine, and in English.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}

_never = threading.Event()


def run(argv: list[str], *, stdin: str = "", timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> str:
    """Run a program and return what it printed.

    :raises CommandFailed: it ended with another status than 0.
    :raises LabError: it did not end in time, or does not exist.
    """
    done = run_unchecked(argv, stdin=stdin, timeout_seconds=timeout_seconds)
    if done.returncode != 0:
        raise errors.CommandFailed(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def run_unchecked(
    argv: list[str], *, stdin: str = "", timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its status."""
    try:
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, env=ENVIRONMENT, check=False)
    except subprocess.TimeoutExpired:
        raise errors.LabError(f"{' '.join(argv[:6])} did not end within {timeout_seconds:g} s") from None
    except FileNotFoundError:
        raise errors.LabUnavailable(f"{argv[0]} is not installed") from None


def wait_until(condition: collections.abc.Callable[[], bool], what: str, *, timeout_seconds: float, interval_seconds: float = 0.02) -> None:
    """Ask until the condition holds.

    :raises LabError: it did not hold in time; the message names what was waited for.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            raise errors.LabError(f"waited {timeout_seconds:g} s for {what}")
        _never.wait(interval_seconds)


def pause(seconds: float) -> None:
    """Let time pass between two samples of a rate."""
    _never.wait(seconds)
