# SPDX-License-Identifier: Apache-2.0
"""What is done around every service."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest

from wherry import clock as clocks
from wherry import config as configs
from wherry.cmd import running
from wherry.telemetry import health as healths


class _Service:
    """Starts at once, and has the process told to end as soon as it runs."""

    def __init__(self, config: configs.Config) -> None:
        self.config = config
        self.health = healths.Health(clocks.LoopClock())
        self.frozen = -1

    async def start(self) -> str:
        return "It runs."

    async def stop(self) -> None:
        pass

    async def reload(self, config_files: object) -> configs.Reloaded:
        raise NotImplementedError

    async def broken(self) -> None:
        self.frozen = gc.get_freeze_count()
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def thaw() -> Iterator[None]:
    """Undo what a process does to itself."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    gc.unfreeze()
    yield
    gc.unfreeze()
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("thaw")
async def test_what_was_made_before_a_service_is_ready_is_spared_by_the_garbage_collector() -> None:
    made: list[_Service] = []

    def make(config: configs.Config) -> _Service:
        made.append(_Service(config))
        return made[0]

    assert await running._Run(make, configs.load([], {}), []).serve() == 0
    assert made[0].frozen > 10_000
