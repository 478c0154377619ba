# SPDX-License-Identifier: Apache-2.0
"""Tasks that nobody waits for, kept so that they are neither lost nor silent when they fail; loops that no error ends.

Decides nothing about what they do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from wherry import clock as clocks
from wherry import errors
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")


class Background:
    """The tasks of one part of a process."""

    def __init__(self) -> None:
        #: In the order in which they began, so that they are also cancelled in an order that each run repeats.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str, *, is_awaited: bool = False) -> asyncio.Task[T]:
        """Run it. A failure is logged, unless somebody awaits the task and is told that way."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._ended_awaited if is_awaited else self._ended)
        return task

    async def stop(self) -> None:
        """Cancel what is left and wait until it is gone."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended_awaited(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            # Looked at here, since whoever awaited it may have gone away meanwhile.
            task.exception()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _tell(f"A task in the background failed: {task.get_name()}.", error)


async def repeat(work: Callable[[], Awaitable[None]], what: str, *, every_seconds: float, clock: clocks.Clock) -> NoReturn:
    """Do something again and again, with a pause before each time. Whatever error it meets is logged and ends nothing."""
    while True:
        await clock.sleep(every_seconds)
        await attempt(work, what)


async def attempt(work: Callable[[], Awaitable[None]], what: str) -> None:
    """Do something that will be done again; whatever error it meets is logged."""
    try:
        await work()
    except Exception as error:
        _tell(f"{what} failed and is tried again.", error)


async def wait_for_wake(wake: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most so long; clear it, and say whether it came."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


def _tell(what: str, error: BaseException) -> None:
    level = logging.WARNING if isinstance(error, errors.Error) else logging.ERROR
    _log.log(level, what, **logs.told(error))
