# SPDX-License-Identifier: Apache-2.0
"""The cloud and the world of the functional tests of the flow, for bugs that were found at full stack."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.functional.flow.conftest import make_cloud, world
from wherry.testing import virtual_time

__all__ = ["make_cloud", "world"]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give each test the loop that its mark asks for."""
    del config
    return virtual_time.loop_factories(item)
