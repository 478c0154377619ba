# SPDX-License-Identifier: Apache-2.0
"""Bounded daemon threads in which blocking calls wait, one call at a time each, with a time-out for the caller.

Knows nothing of libvirt: a lane carries whatever its user keeps on it. A late call keeps its thread, never its caller or the process.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import queue
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
C = TypeVar("C")


class LateAnswer(Exception):
    """The call did not end in time; its thread is kept until it does."""


class Lane(Generic[C]):
    """One daemon thread, and what it alone uses.

    Daemon threads, not an executor's: an executor joins its threads at exit, and a hung call would keep the process from ending.
    """

    def __init__(self, name: str, dispose: Callable[[C], None]) -> None:
        #: Touched by the lane's own thread only.
        self.resource: C | None = None
        self.is_busy = False
        self._dispose = dispose
        self._on_idle: Callable[[], None] | None = None
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, function: Callable[[Lane[C]], T], timeout_seconds: float | None) -> T:
        """Run the function in the thread.

        :raises LateAnswer: when it did not end in time.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.is_busy = True
        self._inbox.put(lambda: self._do(function, loop, future))
        try:
            await asyncio.wait({future}, timeout=timeout_seconds)
        finally:
            if not future.done():
                future.cancel()
        if future.cancelled():
            raise LateAnswer
        return future.result()

    def when_idle(self, action: Callable[[], None]) -> None:
        """Have `action` called once on the event loop when nothing runs here; at once when nothing does."""
        if self.is_busy:
            self._on_idle = action
        else:
            action()

    def end(self) -> None:
        """Dispose of the resource and end the thread after what it does now."""
        self._inbox.put(None)

    def discard(self) -> None:
        """Dispose of the resource. To be called in the thread."""
        resource, self.resource = self.resource, None
        if resource is not None:
            self._dispose(resource)

    def _work(self) -> None:
        while (job := self._inbox.get()) is not None:
            job()
            # Not kept until the next job: it holds what the caller gave.
            del job
        self.discard()

    def _do(self, function: Callable[[Lane[C]], T], loop: asyncio.AbstractEventLoop, future: asyncio.Future[T]) -> None:
        result: Any = None
        problem: BaseException | None = None
        try:
            result = function(self)
        except BaseException as error:
            # The frames hold objects of the connection: freed later, in the loop's thread, they could make it wait for the hypervisor.
            traceback.clear_frames(error.__traceback__)
            problem = error
        # RuntimeError: the loop was closed meanwhile, so nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settle, future, result, problem)

    def _settle(self, future: asyncio.Future[T], result: T, problem: BaseException | None) -> None:
        self.is_busy = False
        if not future.done():
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)
        action, self._on_idle = self._on_idle, None
        if action:
            action()


class Lanes(Generic[C]):
    """A bounded set of lanes, made when needed, lent one by one."""

    def __init__(self, name: str, limit: int, dispose: Callable[[C], None]) -> None:
        self.name = name
        self.limit = limit
        self._dispose = dispose
        self._all: set[Lane[C]] = set()
        self._idle: list[Lane[C]] = []
        self._waiting: collections.deque[asyncio.Future[Lane[C]]] = collections.deque()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many threads there are."""
        return len(self._all)

    async def acquire(self, timeout_seconds: float) -> Lane[C]:
        """Borrow a lane.

        :raises LateAnswer: when none came free in time.
        """
        if self._idle:
            # The one used last: its connection is open.
            return self._idle.pop()
        if len(self._all) < self.limit:
            lane: Lane[C] = Lane(f"{self.name}-{len(self._all)}", self._dispose)
            self._all.add(lane)
            return lane
        future: asyncio.Future[Lane[C]] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await asyncio.wait({future}, timeout=timeout_seconds)
        except asyncio.CancelledError:
            if future.done():
                self.release(future.result())
            raise
        finally:
            if not future.done():
                self._waiting.remove(future)
        if not future.done():
            raise LateAnswer
        return future.result()

    def release(self, lane: Lane[C]) -> None:
        """Give a lane back; one that is still at work counts as lent until it is done."""
        lane.when_idle(lambda: self._offer(lane))

    @contextlib.asynccontextmanager
    async def lent(self, timeout_seconds: float) -> AsyncIterator[Lane[C]]:
        """Borrow a lane for a while."""
        lane = await self.acquire(timeout_seconds)
        try:
            yield lane
        finally:
            self.release(lane)

    async def close(self, timeout_seconds: float) -> None:
        """Dispose of all resources; those of lanes at work go when the work ends. Waits for the idle ones only, and not for long."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        closing = [asyncio.create_task(lane.run(lambda lane: lane.discard(), timeout_seconds)) for lane in idle]
        await asyncio.gather(*closing, return_exceptions=True)
        for lane in self._all:
            lane.end()
        self._all.clear()

    def _offer(self, lane: Lane[C]) -> None:
        if self._is_closed:
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(lane)
                return
        self._idle.append(lane)
