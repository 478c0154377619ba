# SPDX-License-Identifier: Apache-2.0
"""Properties over many inputs: pages join to the whole list; the store moves a status exactly as the table says."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import errors
from wherry.config import database as config_database
from wherry.db import paging
from wherry.db.repositories import servers as server_records
from wherry.model import operation, server, states
from wherry.testing import store_contract

_KEYS = sorted(server_records.SORT_KEYS)


class Bench:
    """One database for all examples, each of which has a project and hosts of its own."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.harness = store_contract.Harness(config=config_database.DatabaseSection(connection="sqlite:///"))
        self.runner.run(self.harness.store.upgrade())
        self.examples = 0

    def run(self, check: Callable[[store_contract.Harness, str], Coroutine[Any, Any, None]]) -> None:
        self.examples += 1
        self.runner.run(check(self.harness, f"example-{self.examples}"))

    def close(self) -> None:
        self.runner.run(self.harness.store.close())
        self.runner.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def _getting(operation_id: str) -> Any:
    return lambda uow: uow.operations.get(operation_id)


def _listing(query: server_records.ServerQuery) -> Any:
    return lambda uow: uow.servers.list(query)


def _rank(value: Any) -> tuple[int, Any]:
    return (0, 0) if value is None else (1, value)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "host": st.sampled_from([None, "a", "b", "é"]),
                "name": st.sampled_from(["x", "X", "y"]),
                "memory_mib": st.integers(0, 2),
                "vm_state": st.sampled_from(list(server.VmState)),
            }
        ),
        max_size=9,
    ),
    pauses=st.lists(st.sampled_from([0, 0, 1]), min_size=9, max_size=9),
    keys=st.lists(st.tuples(st.sampled_from(_KEYS), st.booleans()), max_size=3, unique_by=lambda pair: pair[0]),
    limit=st.integers(1, 4),
)
def test_pages_join_to_the_whole_list_which_is_sorted(
    bench: Bench, rows: list[dict[str, Any]], pauses: list[int], keys: list[tuple[str, bool]], limit: int
) -> None:
    sort = tuple(paging.SortKey(name=name, is_descending=is_descending) for name, is_descending in keys)

    async def check(harness: store_contract.Harness, own: str) -> None:
        for row, pause in zip(rows, pauses, strict=False):
            await harness.make_server(**row, project_id=own)
            harness.clock.advance(pause)
        whole = await harness.store.read(lambda uow: uow.servers.list(server_records.ServerQuery(project_id=own, sort=sort)))
        pages: list[server.Server] = []
        while True:
            marker = pages[-1].uuid if pages else None
            query = server_records.ServerQuery(project_id=own, sort=sort, limit=limit, marker=marker)
            page = await harness.store.read(_listing(query))
            pages += page
            if len(page) < limit:
                break
        assert pages == whole
        expected = sorted(whole, key=lambda one: one.id)
        for key in reversed(paging.with_tie_break(sort)):
            expected.sort(key=lambda one, name=key.name: _rank(getattr(one, name)), reverse=key.is_descending)  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        assert [one.id for one in whole] == [one.id for one in expected]

    bench.run(check)


@given(events=st.lists(st.sampled_from(list(states.Event)), max_size=8))
def test_a_stored_status_moves_exactly_as_the_table_says(bench: Bench, events: list[states.Event]) -> None:
    async def check(harness: store_contract.Harness, own: str) -> None:
        owned = await harness.make_owned(host=own)
        status = states.Status.ACCEPTED
        for event in events:
            try:
                following = states.advance(status, event)
            except errors.IllegalTransition:
                with pytest.raises(errors.StaleWrite if status in states.TERMINAL else errors.IllegalTransition):
                    await harness.advance(owned, event)
            else:
                owned = await harness.advance(owned, event)
                status = following
            stored = await harness.migration(owned)
            assert stored.status is status
            assert (stored.finished_at is not None) is (status in states.TERMINAL)
            assert await harness.store.read(_getting(owned.id)) == owned
            held = await harness.store.read(lambda uow: uow.slots.count(own, "x"))
            assert held.outgoing == (status in states.HOLDING_SLOTS)

    bench.run(check)


@given(
    numbers=st.fixed_dictionaries(
        {
            "generation": st.integers(-1, 1),
            "epoch": st.integers(-1, 1),
            "owner": st.sampled_from(["conductor-1", "conductor-2", None]),
        }
    )
)
def test_only_the_owner_at_its_epoch_and_generation_writes(bench: Bench, numbers: dict[str, Any]) -> None:
    async def check(harness: store_contract.Harness, own: str) -> None:
        owned = await harness.make_owned(host=own)
        generation, epoch = owned.generation + numbers["generation"], owned.epoch + numbers["epoch"]
        claimed = dataclasses.replace(owned, generation=generation, epoch=epoch, owner=numbers["owner"])
        is_owner = claimed == owned
        try:
            await harness.advance(claimed, operation.Transition(event=states.Event.CHECKS_PASSED))
        except errors.StaleWrite:
            assert not is_owner
        else:
            assert is_owner
        expected = states.Status.QUEUED if is_owner else states.Status.ACCEPTED
        assert (await harness.migration(owned)).status is expected

    bench.run(check)
