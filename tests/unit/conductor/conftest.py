# SPDX-License-Identifier: Apache-2.0
"""A store of the test's own, and one operation of it in the hands of a conductor."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wherry import config as configs
from wherry.conductor import drive, lease, survey
from wherry.config import database
from wherry.model import migration, operation
from wherry.rpc import addresses
from wherry.rpc import client as clients
from wherry.rpc.transports import memory
from wherry.testing import lent_store
from wherry.testing.store_contract import harness as harnesses


@pytest.fixture
async def harness() -> AsyncIterator[harnesses.Harness]:
    made = harnesses.Harness(config=database.DatabaseSection(connection=lent_store.IN_MEMORY))
    await made.store.upgrade()
    yield made
    await made.store.close()


def client() -> clients.Client:
    """A conductor's, on a bus where nobody listens."""
    sender = addresses.Sender(addresses.Role.CONDUCTOR, "conductor-1")
    return clients.Client(memory.MemoryTransport(memory.MemoryBus()), sender, timeout_seconds=1.0)


async def driven(harness: harnesses.Harness, queued: operation.Operation, **limits: Any) -> drive.Drive:
    """Give a queued migration as the conductor has it in hand that admits it."""
    record = await harness.migration(queued)
    destination = record.dest_compute or ""
    facts = migration.DestinationFacts(host=destination)
    plan = migration.DrivenPlan(source=record.source_compute, destination=destination, facts=facts)
    config = configs.Config(default=configs.DefaultSection(**limits))
    return drive.Drive(
        operation=dataclasses.replace(queued, plan=plan),
        record=record,
        store=harness.store,
        agents=client(),
        clock=harness.clock,
        config=config,
        lease=lease.Lease(conductor_id="conductor-1", host="control", store=harness.store, clock=harness.clock, section=config.conductor),
        survey=survey.Survey(harness.store),
    )
