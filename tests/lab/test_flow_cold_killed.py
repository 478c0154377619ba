# SPDX-License-Identifier: Apache-2.0
"""Wherry is killed (SIGKILL, agents and conductor in one process) in the middle of moves of real guests, at one stage after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import checks, cold, flow
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab, pytest.mark.slow]

_OPTIONS: dict[str, dict[str, Any]] = {
    "conductor": {"shutdown_timeout_seconds": 1.5, "shutdown_poll_interval_seconds": 0.1, "move_poll_interval_seconds": 0.1}
}
#: More than is sent in the time that the test takes to see it.
_DISK_MIB = 256


def _is_sending(running: flow.Flow, guest: labs.Guest) -> bool:
    arriving = cold.image(running.h2, guest)
    return arriving.exists() and arriving.stat().st_blocks * 512 > 8 << 20


#: What is asked, and by what it is seen that a stage was reached at which Wherry is killed.
_STAGES: tuple[tuple[str, str, Callable[[flow.Flow, labs.Guest], bool]], ...] = (
    ("migrate", "as soon as it was answered", lambda _running, _guest: True),
    ("migrate", "the guest is off", lambda running, guest: running.h1.domain_state(guest.name).startswith("shut off")),
    ("migrate", "its disk is being sent", _is_sending),
    ("migrate", "the destination has defined it", lambda running, guest: guest.name in running.h2.domains(active_only=False)),
    ("revertResize", "as soon as it was answered", lambda _running, _guest: True),
    ("revertResize", "the guest is off", lambda running, guest: running.h2.domain_state(guest.name).startswith("shut off")),
    ("revertResize", "the source runs it", lambda running, guest: running.h1.domain_state(guest.name).startswith("running")),
    ("confirmResize", "as soon as it was answered", lambda _running, _guest: True),
    ("confirmResize", "the source has it no more", lambda running, guest: guest.name not in running.h1.domains(active_only=False)),
)
_ENDS = {"migrate": "finished", "revertResize": "reverted", "confirmResize": "confirmed"}


@pytest.mark.parametrize(("asked", "told", "is_reached"), _STAGES, ids=[f"{asked}, {told}" for asked, told, _ in _STAGES])
def test_killed_at_each_stage(
    start_wherry: flow.StartWherry,
    tell: checks.Tell,
    asked: str,
    told: str,
    is_reached: Callable[[flow.Flow, labs.Guest], bool],
) -> None:
    """Started again, it goes on: what was asked for is done, one host runs the guest, and the pattern on its disk is intact."""
    running = start_wherry(is_separate=True, **_OPTIONS)
    assert isinstance(running.process, flow.Separate)
    guest = running.guest(persistent=True, disk="private", disk_mib=_DISK_MIB)
    cold.mark_running(running, guest, fill_mib=_DISK_MIB // 2)
    if asked != "migrate":
        cold.moved(running, guest, running.h2)
    cold.act(running, guest, asked, {"host": "h2"} if asked == "migrate" else None)
    flow.until(lambda: is_reached(running, guest), told, seconds=30)
    running.process.kill()
    running.start()
    host = running.h1 if asked == "revertResize" else running.h2
    status = "VERIFY_RESIZE" if asked == "migrate" else "ACTIVE"
    cold.until(running, guest, status, host, seconds=60)
    assert guest.where() == [host.name]
    assert cold.has_mark(cold.image(host, guest))
    (record, *_) = running.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"]
    assert record["status"] == _ENDS[asked]
    if asked == "revertResize":
        flow.until(lambda: not cold.image(running.h2, guest).exists(), "the destination to be cleared")
    tell(f"{asked:14} killed when {told:32}  {record['status']}")
