# SPDX-License-Identifier: Apache-2.0
"""Whether a process lives, and whether it can do its work now; if not, what it lacks.

Live is a process that answers at all: restarting another helps nobody. Ready is one that others should send work to. Serves no HTTP itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterable

from wherry import clock as clocks
from wherry.telemetry import metrics

LIVE_PATH, READY_PATH, METRICS_PATH = "/healthz/live", "/healthz/ready", "/metrics"
#: Age up to which an answer about readiness is given again: however often it is asked for, each thing is looked at once in that time.
_MAX_AGE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lack:
    """One thing without which a process is not ready. Anybody may read it: no address, no password, no trace."""

    #: A stable word: starting, stopping, database, schema, bus, lease, conductor, hypervisor.
    what: str
    #: For people.
    reason: str
    #: Whose it is, where one process serves several hosts.
    host: str = ""


Check = Callable[[], Awaitable[Iterable[Lack]]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a probe is answered with."""

    status: int
    content_type: str
    body: bytes


class Health:
    """The health of one process."""

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._checks: list[Check] = []
        self._phase: Lack | None = Lack(what="starting", reason="it has just been started")
        self._looked_at = float("-inf")
        self._found: tuple[Lack, ...] = ()
        self._looking = asyncio.Lock()
        #: Called with a sentence at each change of phase.
        self.on_phase: Callable[[str], None] = lambda _sentence: None

    @property
    def starting(self) -> Lack | None:
        """What the start of the process waits for; None once it is over."""
        return self._phase if self._phase is not None and self._phase.what == "starting" else None

    def watch(self, check: Check) -> None:
        """Have this looked at whenever somebody asks whether the process is ready."""
        self._checks.append(check)

    def wait_for(self, reason: str) -> None:
        """Note what the start waits for."""
        self._enter(Lack(what="starting", reason=reason))

    def started(self) -> None:
        """Note that the start is over."""
        self._enter(None)

    def stopping(self) -> None:
        """Note that the process ends: it takes no new work."""
        self._enter(Lack(what="stopping", reason="it is being stopped"))

    async def lacks(self) -> tuple[Lack, ...]:
        """Give what the process lacks; nothing when it is ready."""
        if self._phase is not None:
            return (self._phase,)
        async with self._looking:
            if self._clock.monotonic() - self._looked_at >= _MAX_AGE_SECONDS:
                found = [lack for check in self._checks for lack in await check()]
                # Two parts may lack the same.
                self._found = tuple(dict.fromkeys(found))
                self._looked_at = self._clock.monotonic()
        return self._found

    async def answer(self, path: str) -> Answer | None:
        """Answer a probe; None when the path is none of a probe's."""
        if path == LIVE_PATH:
            return _json(200, {"status": "live"})
        if path != READY_PATH:
            return None
        lacks = await self.lacks()
        if not lacks:
            return _json(200, {"status": "ready"})
        return _json(503, {"status": "not ready", "lacks": [{k: v for k, v in dataclasses.asdict(one).items() if v} for one in lacks]})

    def _enter(self, phase: Lack | None) -> None:
        self._phase = phase
        self._looked_at = float("-inf")
        self.on_phase(phase.reason if phase is not None else "ready")


def metrics_answer(counted: metrics.Metrics) -> Answer:
    """Give every number that the process counts."""
    return Answer(status=200, content_type=metrics.CONTENT_TYPE, body=counted.render())


def _json(status: int, content: dict[str, object]) -> Answer:
    return Answer(status=status, content_type="application/json", body=json.dumps(content).encode() + b"\n")
