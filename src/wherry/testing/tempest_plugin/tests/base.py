# SPDX-License-Identifier: Apache-2.0
"""What tests of live migrations share: a server, and the events of a request about it.

Must not know what a test expects of them.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from tempest import config
from tempest.api.compute import base
from tempest.common import waiters

CONF = config.CONF

_PAUSE = threading.Event()


class LiveMigrationTest(base.BaseV2ComputeAdminTest):
    """Has a server to move."""

    create_default_network = True

    @classmethod
    def skip_checks(cls) -> None:
        """Leave it where servers cannot be moved."""
        super().skip_checks()
        if not CONF.compute_feature_enabled.live_migration:
            raise cls.skipException("Live migration is not available.")
        if CONF.compute.min_compute_nodes < 2:
            raise cls.skipException("Less than 2 compute nodes, skipping migration test.")

    @classmethod
    def resource_setup(cls) -> None:
        """Make the server."""
        super().resource_setup()
        cls.server_id = cls.create_test_server(wait_until="ACTIVE")["id"]

    def setUp(self) -> None:
        """Remember where it is."""
        super().setUp()
        self.source = self.get_host_for_server(self.server_id)

    def live_migrate(self, **more: Any) -> str:
        """Ask for a live migration to wherever there is room; give the request's id."""
        answer = self.admin_servers_client.live_migrate_server(self.server_id, **{"host": None, "block_migration": "auto", **more})
        return str(answer.response["x-openstack-request-id"])

    def settled(self) -> dict[str, Any]:
        """Wait until the server rests, and give it."""
        return dict(waiters.wait_for_server_status(self.admin_servers_client, self.server_id, "ACTIVE"))

    def event(self, request_id: str, name: str) -> dict[str, Any]:
        """Wait until an event of a request has ended, and give it."""
        give_up_at = time.monotonic() + CONF.compute.build_timeout
        while True:
            action = self.admin_servers_client.show_instance_action(self.server_id, request_id)["instanceAction"]
            self.assertEqual("live-migration", action["action"])
            self.assertEqual(request_id, action["request_id"])
            found = [event for event in action["events"] if event["event"] == name]
            if found and all(event["finish_time"] for event in found):
                self.assertEqual(1, len(found), action["events"])
                return dict(found[0])
            if time.monotonic() > give_up_at:
                self.fail(f"request {request_id} has no ended event {name}: {action}")
            _PAUSE.wait(CONF.compute.build_interval)
