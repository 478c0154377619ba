# SPDX-License-Identifier: Apache-2.0
"""Run a check so that whatever goes wrong in it is an answer about the check, since nothing was touched.

Knows no check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from wherry import errors
from wherry.model import instance_actions
from wherry.telemetry import logs

_log = logs.get_logger(__name__)

T = TypeVar("T")


async def run_check(host: str, timeout_seconds: float, check: Awaitable[T]) -> T:
    """Wait for the check's outcome.

    :raises CheckTimeout: when it, or a call in it, takes too long.
    :raises CheckCrashed: when it ends in an error that is none of ours.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            return await check
    except (TimeoutError, errors.Timeout) as error:
        raise errors.CheckTimeout(host=host) from error
    except errors.Error:
        raise
    except Exception as error:
        _log.exception("A check crashed", host=host)
        raise errors.CheckCrashed(host=host, detail=f"{type(error).__name__}: {error}") from error


def passed(warnings: tuple[str, ...]) -> instance_actions.EventOutcome:
    """Give the outcome of a check that said yes, with what it warns of."""
    return instance_actions.EventOutcome(result=instance_actions.Result.SUCCESS, details=" ".join(warnings) or None)
