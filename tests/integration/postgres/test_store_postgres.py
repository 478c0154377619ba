# SPDX-License-Identifier: Apache-2.0
"""The store's contract suite on PostgreSQL, as Debian ships it."""

from __future__ import annotations

import pytest

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

pytestmark = pytest.mark.postgres


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


class TestOvershoot(admission.OvershootContract): ...


class TestProcesses(admission.ProcessContract): ...


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
