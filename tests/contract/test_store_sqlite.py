# SPDX-License-Identifier: Apache-2.0
"""The store's contract suite on SQLite, in line."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest

from wherry.config import database as config_database
from wherry.testing import store_contract
from wherry.testing.store_contract import (
    admission,
    created,
    facts,
    flavors,
    hosts,
    newer,
    operations,
    overview,
    server_groups,
    servers,
    transactions,
    transitions,
)


@pytest.fixture
async def harness(tmp_path: pathlib.Path) -> AsyncIterator[store_contract.Harness]:
    # The disk is not waited for: what a power failure would do is no part of the contract.
    config = config_database.DatabaseSection(connection=f"sqlite:///{tmp_path}/wherry.sqlite", sqlite_synchronous="normal")
    made = store_contract.Harness(config=config)
    await made.store.upgrade()
    yield made
    await made.store.close()


class TestServers(servers.ServerContract): ...


class TestServerLists(servers.ServerListContract): ...


class TestRegistration(hosts.RegistrationContract): ...


class TestHostLists(hosts.HostListContract): ...


class TestAccept(operations.AcceptContract): ...


class TestClaims(operations.ClaimContract): ...


class TestIntents(operations.IntentContract): ...


class TestTransitions(transitions.TransitionContract): ...


class TestAtOnce(transitions.AtOnceContract): ...


class TestEvents(transitions.EventContract): ...


class TestMigrationLists(facts.MigrationListContract): ...


class TestActions(facts.ActionContract): ...


class TestReports(facts.ReportContract): ...


class TestSlots(admission.SlotContract): ...


class TestAdmission(admission.AdmissionContract): ...


class TestProcesses(admission.ProcessContract): ...


class TestProcessOvershoot(admission.ProcessOvershootContract): ...


class TestTransactions(transactions.TransactionContract): ...


class TestServerGroups(server_groups.ServerGroupContract): ...


class TestSizes(server_groups.SizeContract): ...


class TestRemoval(server_groups.RemovalContract): ...


class TestFlavors(flavors.FlavorContract): ...


class TestFlavorsOfServers(flavors.ServerFlavorContract): ...


class TestOverview(overview.OverviewContract): ...


class TestCreatedServers(created.CreatedServerContract): ...


class TestNewerOperations(newer.NewerOperationContract): ...


class TestNewerFacts(newer.NewerFactContract): ...


class TestNewerRecords(newer.NewerRecordContract): ...
