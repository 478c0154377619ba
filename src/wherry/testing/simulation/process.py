# SPDX-License-Identifier: Apache-2.0
"""A process that can die as by kill -9: its tasks stop where they are, and nothing that they hold has any effect any more.

Knows nothing of what it runs, nor of when it dies.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")

_CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("wherry_simulated_process", default=None)


class Process:
    """One simulated process and the tasks that were begun in it."""

    def __init__(self, kind: str, name: str) -> None:
        #: "api", "conductor" or "agent".
        self.kind = kind
        self.name = name
        self.is_alive = True
        #: While it is stopped, as by SIGSTOP or by a machine that is paused: until when on the loop's time.
        self.stalled_until = 0.0
        #: On the loop's time: until when the database does not answer this one.
        self.no_database_until = 0.0
        #: In the order in which they began, so that each run ends them alike.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a coroutine as this process."""
        context = contextvars.Context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(coroutine, name=name, context=context)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Count a task to this process; called for each that is begun in it."""
        if not self.is_alive:
            task.cancel()
            return
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def stall(self, seconds: float) -> None:
        """Stop for a while: nothing that it does has an effect until then, and it knows nothing of the time that has passed."""
        self.stalled_until = max(self.stalled_until, asyncio.get_running_loop().time() + seconds)

    async def wake(self) -> None:
        """Wait until it goes on."""
        seconds = self.stalled_until - asyncio.get_running_loop().time()
        if self.is_alive and seconds > 0:
            await asyncio.sleep(seconds)
            # It may have been stopped again meanwhile.
            await self.wake()

    def kill(self) -> None:
        """Die at this instant."""
        self.is_alive = False
        tasks, self._tasks = list(self._tasks), {}
        for task in tasks:
            # What it does in its last moments, `finally` and all, meets handles that are dead.
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)


def current() -> Process | None:
    """Give the process whose code runs now; None for the world, the clients and the tests."""
    return _CURRENT.get()


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Have each task of the loop counted to the process that it is begun in."""
    # The loop itself holds tasks weakly: one that nobody waits for would end whenever garbage is collected, which no run repeats.
    kept: dict[asyncio.Task[Any], None] = {}

    def make_task(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], *, context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coroutine, loop=loop, context=context)
        kept[task] = None
        task.add_done_callback(lambda ended: kept.pop(ended, None))
        owner = _CURRENT.get() if context is None else context.get(_CURRENT)
        if owner is not None:
            owner.adopt(task)
        return task

    loop.set_task_factory(cast("Any", make_task))


def outside(action: Callable[[], None], seconds: float = 0.0) -> None:
    """Have something done a little later by nobody's process: what a dying one asked for would die with it."""
    asyncio.get_running_loop().call_later(seconds, action, context=contextvars.Context())


def spawn_outside(coroutine: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """Run a coroutine in nobody's process."""
    return asyncio.get_running_loop().create_task(coroutine, name=name, context=contextvars.Context())


async def freeze() -> None:
    """Wait for the end: what the dead await never comes."""
    await asyncio.get_running_loop().create_future()
