# SPDX-License-Identifier: Apache-2.0
"""Loops for the drivers' tests: virtual time where a test is marked `virtual_time`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from wherry.testing import virtual_time


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    return virtual_time.loop_factories(item)
