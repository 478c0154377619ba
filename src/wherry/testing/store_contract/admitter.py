# SPDX-License-Identifier: Apache-2.0
"""One process that admits what it is told to, for the contract suite. Says when it is ready, and waits to be told to go on.

`unlocked` counts in one transaction and advances in another, which is wrong, and shown to be.
"""

from __future__ import annotations

import asyncio
import json
import sys

from wherry.clock import LoopClock
from wherry.config import database as config_database
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import admission
from wherry.model import operation, states
from wherry.testing.store_contract import admission as suite


async def _main(config: config_database.DatabaseSection, how: str, places: list[suite.Place]) -> None:
    store = await stores.Store.open(config, LoopClock())
    await store.check()
    _wait_for_the_others("ready")
    if how == "locked":
        for place in (*places, *places):
            await store.run(_if_queued(place))
    else:
        of, source, destination = places[0]

        async def count(uow: uows.UnitOfWork) -> admission.SlotCounts:
            return await uow.slots.count(source, destination, exclude_operation=of)

        counts = await store.read(count)
        _wait_for_the_others("counted")
        if suite.fits(counts):
            await store.run(_admitted(of))
    await store.close()


def _wait_for_the_others(said: str) -> None:
    print(said, flush=True)
    sys.stdin.readline()


def _if_queued(place: suite.Place) -> stores.Unit[None]:
    async def unit(uow: uows.UnitOfWork) -> None:
        if (await uow.migrations.get_by_uuid(place[0])).status is states.Status.QUEUED:
            await suite.admitting(*place)(uow)

    return unit


def _admitted(of: str) -> stores.Unit[None]:
    async def unit(uow: uows.UnitOfWork) -> None:
        await uow.operations.advance(await uow.operations.get(of), operation.Transition(event=states.Event.ADMITTED))

    return unit


if __name__ == "__main__":
    options, given, queue = sys.argv[1:]
    asyncio.run(_main(config_database.DatabaseSection(**json.loads(options)), given, [tuple(place) for place in json.loads(queue)]))
