# SPDX-License-Identifier: Apache-2.0
"""The suite as a whole, of parts that each try one thing that a store keeps."""

from __future__ import annotations

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


class StoreContract:
    """Every part that every database passes, to be inherited by a test class beside a fixture `harness`."""

    TestServers = servers.ServerContract
    TestServerLists = servers.ServerListContract
    TestRegistration = hosts.RegistrationContract
    TestHostLists = hosts.HostListContract
    TestAccept = operations.AcceptContract
    TestClaims = operations.ClaimContract
    TestIntents = operations.IntentContract
    TestTransitions = transitions.TransitionContract
    TestAtOnce = transitions.AtOnceContract
    TestEvents = transitions.EventContract
    TestMigrationLists = facts.MigrationListContract
    TestActions = facts.ActionContract
    TestReports = facts.ReportContract
    TestSlots = admission.SlotContract
    TestAdmission = admission.AdmissionContract
    TestProcesses = admission.ProcessContract
    TestTransactions = transactions.TransactionContract
    TestServerGroups = server_groups.ServerGroupContract
    TestSizes = server_groups.SizeContract
    TestRemoval = server_groups.RemovalContract
    TestFlavors = flavors.FlavorContract
    TestFlavorsOfServers = flavors.ServerFlavorContract
    TestOverview = overview.OverviewContract
    TestCreatedServers = created.CreatedServerContract
    TestNewerOperations = newer.NewerOperationContract
    TestNewerFacts = newer.NewerFactContract
    TestNewerRecords = newer.NewerRecordContract
