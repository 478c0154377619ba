# SPDX-License-Identifier: Apache-2.0
"""What tempest.conf says to these tests.

Declares options only.
"""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup(name="live-migration-events", title="Events of live migrations")
OPTIONS = [
    cfg.BoolOpt(
        "shared_storage",
        default=False,
        help="Whether the hosts share the storage of servers' disks: the tests ask for what does not fit, to see a check fail.",
    ),
    cfg.BoolOpt("deadlines", default=False, help="Whether live migrations take timeout_seconds and on_timeout, at 2.1000 and later."),
]
