# SPDX-License-Identifier: Apache-2.0
"""What agents send often is gathered and written together; what PostgreSQL does not take of one of them is that one's business only."""

from __future__ import annotations

import asyncio

import pytest

from wherry.conductor import heartbeats
from wherry.conductor import progress as writers
from wherry.model import progress
from wherry.testing import store_contract

pytestmark = pytest.mark.postgres

#: PostgreSQL has no such text.
_NO_TEXT = "\0"


async def test_a_sign_of_life_that_cannot_be_stored_makes_no_other_host_look_dead(harness: store_contract.Harness) -> None:
    await harness.make_host("host-a", incarnation="current")
    beats = heartbeats.Heartbeats(store=harness.store, clock=harness.clock, interval_seconds=0.001)
    refused, noted = await asyncio.gather(beats.note("host-b", _NO_TEXT), beats.note("host-a", "current"), return_exceptions=True)
    await beats.stop()
    assert isinstance(refused, Exception)
    assert noted is True


async def test_counters_of_a_migration_that_cannot_be_are_no_loss_to_others(harness: store_contract.Harness) -> None:
    of = await harness.make_owned(host="host-a")
    writer = writers.ProgressWriter(store=harness.store, clock=harness.clock, interval_seconds=1.0)
    writer.note(_NO_TEXT, "host-b", progress.Progress())
    writer.note(of.id, "host-a", progress.Progress(memory_total_bytes=100, memory_processed_bytes=7))
    await writer.flush()
    moving = await harness.store.read(lambda uow: uow.migrations.get_by_uuid(of.id))
    assert moving.progress is not None
    assert moving.progress.memory_processed_bytes == 7
