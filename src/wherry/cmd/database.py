# SPDX-License-Identifier: Apache-2.0
"""`wherry db`: bring the schema up to date, or say whether it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from wherry import clock as clocks
from wherry import config
from wherry.db import store as stores
from wherry.db.migrations import runner


def upgrade(config_files: Sequence[str], *, is_expanding_only: bool = False) -> int:
    """Upgrade and say how far."""
    state = asyncio.run(_with_store(config_files, lambda store: store.upgrade(only_before_start=is_expanding_only)))
    print(state.told)
    if state.pending:
        print(f"Run `wherry db upgrade` once no process of an earlier release runs: {', '.join(state.pending)} wait.")
    return 0


def check(config_files: Sequence[str]) -> int:
    """Say which revision the schema is at; 1 when others wait."""
    state = asyncio.run(_with_store(config_files, lambda store: store.check()))
    print(state.told)
    if state.pending:
        print(f"Run `wherry db upgrade`: {', '.join(state.pending)} wait.")
    return 1 if state.pending else 0


async def _with_store(config_files: Sequence[str], work: Callable[[stores.Store], Awaitable[runner.SchemaState]]) -> runner.SchemaState:
    store = await stores.Store.open(config.load(config_files).database, clocks.LoopClock())
    try:
        return await work(store)
    finally:
        await store.close()
