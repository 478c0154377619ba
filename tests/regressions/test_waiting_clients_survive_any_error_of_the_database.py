# SPDX-License-Identifier: Apache-2.0
"""An error that nobody foresaw ended the one task that asks for all waiting clients; they were answered by their time limits only."""

from __future__ import annotations

import asyncio
import pathlib
from typing import TypeVar

from wherry import clock as clocks
from wherry.api import waiting
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.model import states
from wherry.testing import store_contract

T = TypeVar("T")


class _OnceBrokenStore(stores.Store):
    """A store whose first look ends in an error that is not of our tree."""

    has_failed = False

    async def read(self, unit: stores.Unit[T]) -> T:
        if not self.has_failed:
            self.has_failed = True
            raise RuntimeError("nobody foresaw this")
        return await super().read(unit)


async def test_the_next_look_answers(tmp_path: pathlib.Path) -> None:
    config = config_database.DatabaseSection(connection=f"sqlite:///{tmp_path}/w.sqlite")
    harness = store_contract.Harness(config=config)
    await harness.store.upgrade()
    owned = await harness.make_owned()
    store = _OnceBrokenStore(stores.engine_for(config), config, clocks.LoopClock())
    waits = waiting.Waiting(store, clocks.LoopClock(), 0.01)
    with waits.watching(owned.id) as checked:
        await harness.advance(owned, states.Event.CHECKS_PASSED)
        async with asyncio.timeout(5):
            assert (await checked).status is states.Status.QUEUED
    assert store.has_failed
    await waits.close()
    await store.close()
    await harness.store.close()
