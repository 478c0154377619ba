# SPDX-License-Identifier: Apache-2.0
"""An asyncio event loop whose time jumps to the next timer whenever nothing is ready to run.

Everything of asyncio works on it, and a year costs what its timers cost. Nothing here waits for real: no threads, no sockets, no
subprocesses, since their answers would come at times that no run repeats.
"""

from __future__ import annotations

import asyncio
import datetime
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent import futures
from typing import Any, TypeVar, TypeVarTuple

import pytest

from wherry import clock as wherry_clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Wall time at which virtual runs begin unless told otherwise.
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


#: So many rounds at one moment are too many unless a run says otherwise.
_MOST_ROUNDS = 200_000


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: what is being waited for can never happen."""


class TimeLimitExceeded(RuntimeError):
    """The run went on for longer than its limit of virtual time."""


class _JumpingSelector(selectors.SelectSelector):
    """A selector that moves the loop's time instead of waiting."""

    loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop is None:
            return []
        if timeout is not None and timeout <= 0:
            self.loop.stand_still()
            return []
        # The loop's own wake-up pipe is the one file it may have; a signal handler writes there.
        ready = super().select(0)
        if not ready:
            self.loop.jump(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop. Its time starts at 0 and moves only when nothing else can be done.

    :param limit_seconds: virtual time after which a run is given up, for periodic timers would keep a stuck run alive for ever; 0 = none.
    """

    #: asyncio's own: timers that lie no further ahead than this are due.
    _clock_resolution: float

    def __init__(self, limit_seconds: float = 0.0) -> None:
        self._virtual_seconds = 0.0
        self._limit_seconds = limit_seconds
        self._rounds = 0
        #: Rounds at one moment of virtual time after which it counts as standing still.
        self.most_rounds = _MOST_ROUNDS
        #: Called before time moves on: what holds now has held for a while.
        self.on_jump: list[Callable[[], None]] = []
        selector = _JumpingSelector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._virtual_seconds

    def stand_still(self) -> None:
        """Count a round in which time did not move.

        :raises Deadlock: when there were so many that it never will: something waits for less time than the clock can tell.
        """
        self._rounds += 1
        if self._rounds > self.most_rounds:
            raise Deadlock(f"time stands still at {self._virtual_seconds:g} s; waiting are:\n{self._waiting()}")

    def jump(self, seconds: float | None) -> None:
        """Move the time on, as the selector does when nothing is ready.

        :raises Deadlock: when no timer is set.
        :raises TimeLimitExceeded: when the run is over its limit.
        """
        if seconds is None:
            raise Deadlock(f"nothing is ready and no timer is set at {self._virtual_seconds:g} s; waiting are:\n{self._waiting()}")
        for told in self.on_jump:
            told()
        if seconds > 0:
            self._rounds = 0
        self._virtual_seconds += seconds
        # After some months a float no longer holds a nanosecond, and a timer that is reached would never count as due.
        self._clock_resolution = max(self._clock_resolution, 4 * math.ulp(self._virtual_seconds))
        if self._limit_seconds and self._virtual_seconds > self._limit_seconds:
            raise TimeLimitExceeded(f"over {self._limit_seconds:g} s of virtual time; waiting are:\n{self._waiting()}")

    def run_in_executor(self, executor: futures.Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        raise RuntimeError(f"no threads on virtual time: {func!r} would end at a time that no run repeats")

    def _waiting(self) -> str:
        return "\n".join(sorted(_where(task) for task in asyncio.all_tasks(self))) or "  (no tasks)"


def _where(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    place = f"{stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else "not started"
    return f"  {task.get_name()}: {getattr(task.get_coro(), '__qualname__', '?')} at {place}"


def run_virtual(coroutine: Coroutine[Any, Any, T], *, limit_seconds: float = 0.0) -> T:
    """Run a coroutine to its end on a virtual-time loop of its own; tasks left over are cancelled.

    :raises Deadlock: when it waits for what cannot happen.
    :raises TimeLimitExceeded: when it takes longer than `limit_seconds` of virtual time, 0 = no limit.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(limit_seconds)) as runner:
        return runner.run(coroutine)


def virtual_clock(start: datetime.datetime = EPOCH) -> wherry_clock.LoopClock:
    """Give a clock whose wall time follows the virtual loop that it is used on."""
    return wherry_clock.LoopClock(start=start)


def loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Answer pytest-asyncio's hook: a virtual loop for tests marked `virtual_time`, asyncio's own for the others.

    A conftest.py says ``def pytest_asyncio_loop_factories(config, item): return virtual_time.loop_factories(item)``.
    """
    marker = item.get_closest_marker("virtual_time")
    if marker is None:
        return {"real": asyncio.new_event_loop}
    limit_seconds = float(marker.kwargs.get("limit_seconds", 0.0))
    return {"virtual": lambda: VirtualTimeLoop(limit_seconds)}
