# SPDX-License-Identifier: Apache-2.0
"""Which event tells of a live migration's checks, and how they ended, before and after requests stopped to wait for them."""

from __future__ import annotations

from tempest import config
from tempest.lib import decorators
from tempest.lib import exceptions as lib_exc

from wherry.testing.tempest_plugin.tests import base

CONF = config.CONF


class LiveMigrationEventsV234Test(base.LiveMigrationTest):
    """From 2.34 on the answer comes before the checks: the event is the only one to tell of them."""

    min_microversion = "2.34"
    max_microversion = "latest"
    event_name = "conductor_live_migrate_server"

    @decorators.attr(type="multinode")
    @decorators.idempotent_id("0f4a4c57-0a5e-4f7f-8f3c-6a51c5f0b0b1")
    def test_event_of_a_live_migration_that_went_well(self) -> None:
        """Its event is found under the response's request id, and it succeeded."""
        request_id = self.live_migrate()
        event = self.event(request_id, self.event_name)
        self.assertEqual("Success", event["result"])
        self.assertNotEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])

    @decorators.attr(type=["multinode", "negative"])
    @decorators.idempotent_id("7d1f7a0e-36f4-4a5b-9b0f-2f6f3cf6f0c2")
    def test_event_of_a_live_migration_whose_check_failed(self) -> None:
        """The request was taken all the same; its event says that it failed, and the server is where it was."""
        request_id = self.live_migrate(block_migration=CONF.live_migration_events.shared_storage)
        event = self.event(request_id, self.event_name)
        self.assertEqual("Error", event["result"])
        self.assertEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])


class LiveMigrationEventsV233Test(base.LiveMigrationTest):
    """Up to 2.33 the answer waits for the checks."""

    min_microversion = "2.33"
    max_microversion = "2.33"
    event_name = "conductor_migrate_server"

    @decorators.attr(type="multinode")
    @decorators.idempotent_id("d4f1b9c6-64b7-4a5e-a6a3-6d2b5bb1e4d3")
    def test_event_of_a_live_migration_that_went_well(self) -> None:
        """Its event is found under the response's request id, and it succeeded."""
        request_id = self.live_migrate()
        event = self.event(request_id, self.event_name)
        self.assertEqual("Success", event["result"])
        self.assertNotEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])

    @decorators.attr(type=["multinode", "negative"])
    @decorators.idempotent_id("a1d0c8f2-3f6d-4dc1-8f0c-9f2b52f3a7e4")
    def test_event_of_a_live_migration_whose_check_failed(self) -> None:
        """The request is refused, and its event says so too."""
        refused = self.assertRaises(lib_exc.BadRequest, self.live_migrate, block_migration=CONF.live_migration_events.shared_storage)
        event = self.event(refused.resp["x-openstack-request-id"], self.event_name)
        self.assertEqual("Error", event["result"])
        self.assertEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])
