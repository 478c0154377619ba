# SPDX-License-Identifier: Apache-2.0
"""Rows that a newer release wrote: an older conductor neither claims them nor stumbles over them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from wherry.config import database as config_database
from wherry.model import states
from wherry.testing import store_contract


@pytest.fixture
async def harness() -> AsyncIterator[store_contract.Harness]:
    made = store_contract.Harness(config=config_database.DatabaseSection(connection="sqlite:///:memory:"))
    await made.store.upgrade()
    yield made
    await made.store.close()


@pytest.mark.parametrize(
    "newer",
    ["UPDATE operations SET kind = 'evacuation'", "UPDATE operations SET step = 'warm_up'", "UPDATE migrations SET status = 'pausing'"],
    ids=["kind", "step", "status"],
)
async def test_what_only_a_newer_release_knows_is_left_to_it(harness: store_contract.Harness, newer: str) -> None:
    accepted, _ = await harness.accept(await harness.make_server())
    await harness.store.run(lambda uow: uow.conductors.renew("one", "control", 3600))
    assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == [accepted.id]
    await harness.store.run(lambda uow: uow.session.change(sa.text(newer)))
    assert await harness.store.read(lambda uow: uow.operations.claimable(10)) == []
    assert await harness.store.run(lambda uow: uow.operations.claim(accepted.id, "one")) is None


@pytest.mark.parametrize("newer", ["UPDATE operations SET step = 'warm_up'", "UPDATE migrations SET status = 'pausing'"])
async def test_what_was_mine_before_a_newer_release_moved_it_is_mine_no_more(harness: store_contract.Harness, newer: str) -> None:
    owned = await harness.make_owned(conductor="one")
    assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == [owned.id]
    await harness.store.run(lambda uow: uow.session.change(sa.text(newer)))
    assert await harness.store.read(lambda uow: uow.operations.owned_by("one")) == []


async def test_clients_that_wait_are_not_held_up_by_a_step_of_a_newer_release(harness: store_contract.Harness) -> None:
    known, newer = await harness.make_owned(), await harness.make_owned()
    await harness.advance(known, states.Event.CHECKS_PASSED)
    ids = {"known": known.id, "newer": newer.id}
    await harness.store.run(lambda uow: uow.session.change(sa.text("UPDATE operations SET step = 'warm_up' WHERE id = :newer"), ids))
    await harness.store.run(lambda uow: uow.session.change(sa.text("UPDATE migrations SET status = 'pausing' WHERE uuid = :newer"), ids))
    assert await harness.store.read(lambda uow: uow.operations.waiting_for([known.id, newer.id])) == {
        known.id: (states.Status.QUEUED, None)
    }
