# SPDX-License-Identifier: Apache-2.0
"""Taking slots: what is asked of the store before and under the lock, and what ends it there."""

from __future__ import annotations

import dataclasses

import pytest

from tests.unit.conductor import conftest
from wherry import errors
from wherry.conductor import drive
from wherry.conductor.steps import admit
from wherry.db import uow as uows
from wherry.model import operation, states
from wherry.testing.store_contract import harness as harnesses


async def _guard(on: drive.Drive) -> drive.Guard:
    answer = await admit.Admit().execute(on)
    assert isinstance(answer, drive.Advance)
    assert answer.guard is not None
    return answer.guard


async def test_an_abort_that_was_recorded_since_its_check_is_seen_under_the_lock(harness: harnesses.Harness) -> None:
    on = await conftest.driven(harness, await harness.make_queued("host-a", "host-b"))
    guard = await _guard(on)
    await harness.store.run(guard)
    await harness.store.run(lambda uow: uow.operations.record_intent(on.operation.id, operation.IntentKind.ABORT, request_id="req-1"))
    with pytest.raises(errors.StaleWrite):
        await harness.store.run(guard)


async def test_slots_taken_since_the_look_postpone_it(harness: harnesses.Harness) -> None:
    on = await conftest.driven(harness, await harness.make_queued("host-a", "host-b"), max_concurrent_live_migrations=1)
    guard = await _guard(on)
    await harness.advance(await harness.make_queued("host-a", "host-c"), states.Event.ADMITTED)
    with pytest.raises(drive.Postponed) as postponed:
        await harness.store.run(guard)
    assert postponed.value.wait.why == "1 of 1 slots out of host-a are taken"
    # From now on it is seen without the lock.
    answer = await admit.Admit().execute(on)
    assert answer == postponed.value.wait


@pytest.mark.parametrize(("cluster", "locks"), [(0, 1), (5, 2)])
async def test_the_cluster_is_locked_only_where_it_has_a_limit(harness: harnesses.Harness, cluster: int, locks: int) -> None:
    guard = await _guard(
        await conftest.driven(harness, await harness.make_queued("host-a", "host-b"), max_concurrent_live_migrations_cluster=cluster)
    )

    async def unit(uow: uows.UnitOfWork) -> None:
        await guard(uow)

    _, statements = await harness.statements_of(unit)
    assert statements == locks + 1


async def test_word_that_slots_are_free_saves_one_look_at_them(harness: harnesses.Harness) -> None:
    on = await conftest.driven(harness, await harness.make_queued("host-a", "host-b"))

    async def statements(word: float | None) -> int:
        on.free_within_seconds = word
        before = harness.engine.statements
        await _guard(on)
        return harness.engine.statements - before

    assert await statements(None) == 1
    # They are held still.
    assert await statements(0.5) == 1
    assert await statements(0.0) == 0
    assert on.free_within_seconds is None, "it is heeded once"


async def test_checks_that_would_be_too_old_by_then_run_again_once(harness: harnesses.Harness) -> None:
    on = await conftest.driven(harness, await harness.make_queued("host-a", "host-b"))
    ttl = on.config.conductor.check_ttl_seconds
    on.operation = dataclasses.replace(on.operation, plan=dataclasses.replace(on.plan, checked_at=harness.clock.now()))
    assert await admit.Admit().check(on) is None
    on.free_within_seconds, on.is_step_new = ttl + 1, True
    assert await admit.Admit().check(on) is None, "they have just passed"
    on.free_within_seconds, on.is_step_new = ttl + 1, False
    again = await admit.Admit().check(on)
    assert again is not None
    assert again.transition.step is operation.StepName.SELECT_DESTINATION
    assert await admit.Admit().check(on) is None, "the word was heeded"
