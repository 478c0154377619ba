# SPDX-License-Identifier: Apache-2.0
"""A live migration's own deadline, which takes the place of the configured one."""

from __future__ import annotations

import json
from typing import Any

from tempest import config
from tempest.lib import decorators
from tempest.lib import exceptions as lib_exc

from wherry.testing.tempest_plugin.tests import base

CONF = config.CONF


class DeadlineTest(base.LiveMigrationTest):
    """Needs a cloud whose live migrations take one."""

    @classmethod
    def skip_checks(cls) -> None:
        """Leave it where there are no such deadlines."""
        super().skip_checks()
        if not CONF.live_migration_events.deadlines:
            raise cls.skipException("Live migrations take no deadline.")


class LiveMigrationDeadlineTest(DeadlineTest):
    """At Wherry's own microversions."""

    min_microversion = "2.1000"
    max_microversion = "latest"

    def last_migration(self) -> dict[str, Any]:
        """Give the server's last migration; tempest has no call for a single one, and its schemas end with Nova's versions."""
        client = self.admin_servers_client
        _, listed = client.get(f"os-migrations?instance_uuid={self.server_id}&limit=1")
        (newest,) = json.loads(listed)["migrations"]
        _, shown = client.get(f"servers/{self.server_id}/migrations/{newest['id']}")
        return dict(json.loads(shown)["migration"])

    @decorators.attr(type="multinode")
    @decorators.idempotent_id("5e4bfa47-2f0a-4a3e-8d7e-1d1df2b9c0a5")
    def test_a_requested_deadline_is_in_force(self) -> None:
        """The record has it, and says that the request named it."""
        request_id = self.live_migrate(timeout_seconds=600, on_timeout="force_complete")
        self.event(request_id, "conductor_live_migrate_server")
        self.settled()
        migration = self.last_migration()
        self.assertEqual("completed", migration["status"])
        self.assertEqual((600, "request"), (migration["timeout_seconds"], migration["timeout_seconds_origin"]))
        self.assertEqual(("force_complete", "request"), (migration["on_timeout"], migration["on_timeout_origin"]))
        self.assertIsNotNone(migration["deadline_at"])

    @decorators.attr(type="multinode")
    @decorators.idempotent_id("c9a7d3f4-5b1c-4f0e-b0d0-8f7f4b1a2c66")
    def test_without_one_the_configured_deadline_is_in_force(self) -> None:
        """The record says that nobody asked for it."""
        self.live_migrate()
        self.settled()
        migration = self.last_migration()
        self.assertEqual(("configuration", "configuration"), (migration["timeout_seconds_origin"], migration["on_timeout_origin"]))

    @decorators.attr(type=["multinode", "negative"])
    @decorators.idempotent_id("3b0d6a52-98a0-4b5b-9c35-7b8f7f0a1d77")
    def test_a_deadline_that_cannot_be_read_is_refused(self) -> None:
        """Neither a time before now, nor a word that is no action, nor a key that is not known."""
        for wrong in ({"timeout_seconds": -1}, {"timeout_seconds": "soon"}, {"on_timeout": "post-copy"}, {"timeout": 10}):
            self.assertRaises(lib_exc.BadRequest, self.live_migrate, **wrong)
        self.assertEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])


class NoDeadlineTest(DeadlineTest):
    """Nova's last microversion does not know these keys."""

    min_microversion = "2.104"
    max_microversion = "2.104"

    @decorators.attr(type=["multinode", "negative"])
    @decorators.idempotent_id("e2f6c0b8-7c0f-4d53-a1a9-2f5d8e4b6c88")
    def test_before_2_1000_a_deadline_is_refused(self) -> None:
        """It is a key like any other that is not known."""
        self.assertRaises(lib_exc.BadRequest, self.live_migrate, timeout_seconds=600)
        self.assertRaises(lib_exc.BadRequest, self.live_migrate, on_timeout="abort")
        self.assertEqual(self.source, self.settled()["OS-EXT-SRV-ATTR:host"])
