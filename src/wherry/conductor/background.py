# SPDX-License-Identifier: Apache-2.0
"""Work that nobody waits for: kept alive while it runs, logged when it fails, cancelled at the stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from wherry import errors
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Background:
    """The conductor's loose ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in the background."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _logged(work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except errors.Error as error:
        _log.warning("Something in the background failed.", slug=error.slug, error=error.message)
    except Exception:
        _log.exception("Something in the background failed unexpectedly.")
