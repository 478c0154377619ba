# SPDX-License-Identifier: Apache-2.0
"""Every test of the agent runs on virtual time, on a rig that is taken down after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.unit.agent import rig as rigs
from wherry.testing import virtual_time


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    return virtual_time.loop_factories(item)


@pytest.fixture
async def rig() -> AsyncIterator[rigs.Rig]:
    made = rigs.Rig()
    yield made
    await made.stop()
