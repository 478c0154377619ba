# SPDX-License-Identifier: Apache-2.0
"""Tasks that nobody waits for, kept so that they are neither lost nor silent when they crash.

Decides nothing about what they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")


class Background:
    """The tasks of one agent."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str, *, is_awaited: bool = False) -> asyncio.Task[T]:
        """Run it. A crash is logged, unless somebody awaits the task and is told that way."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended_awaited if is_awaited else self._ended)
        return task

    async def stop(self) -> None:
        """Cancel what is left and wait until it is gone."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended_awaited(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Looked at here, since whoever awaited it may have gone away meanwhile.
            task.exception()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("A task of the agent ended in an error", task=task.get_name(), exc_info=error)


async def wait_for_wake(wake: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most so long; clear it, and say whether it came."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True
