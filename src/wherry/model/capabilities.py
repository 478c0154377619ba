# SPDX-License-Identifier: Apache-2.0
"""What a driver can do, as flags that are stored with the host and proven by the contract suite.

A flag is a promise both ways: set, the ability works; not set, asking for it raises Unsupported.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DriverCapabilities:
    """Whether … , each for one host with the hypervisor it runs now."""

    #: Whether a running guest can be sent to another host.
    live_migration: bool = False
    #: Whether a transfer under way can be aborted with the guest running on at the source.
    abort: bool = False
    #: Whether force-complete can switch a transfer to post-copy.
    force_complete_by_post_copy: bool = False
    #: Whether a post-copy whose connection was lost can be connected again, with both sides' memory kept.
    post_copy_recovery: bool = False
    #: Whether force-complete can pause the guest so that the copy ends.
    force_complete_by_pause: bool = False
    #: Whether a transfer survives its agent and can be watched again afterwards.
    adoption: bool = False
    #: Whether disks can be copied along.
    storage_copy: bool = False
    #: Whether the bandwidth limit can change while a transfer runs.
    bandwidth_change: bool = False
    #: Whether the allowed downtime can change while a transfer runs.
    downtime_change: bool = False
    #: Whether a paused guest can be sent, and stays paused.
    paused_guests: bool = False
    #: Whether the agent keeps a deadline that travels with the request.
    per_migration_deadline: bool = False
    #: Whether progress counters are reported while a transfer runs.
    progress: bool = False
    #: Whether a guest can be paused on request.
    pause: bool = False
    #: Whether a guest can be started, asked to shut itself down, and powered off.
    power: bool = False
    #: Whether a guest's memory can be saved to its host's disk, and the guest started from it.
    suspend: bool = False
    #: Whether a guest that is off can be moved to another host with its disks, or made another size.
    cold_migration: bool = False
    #: Whether guests can be made and removed.
    build: bool = False


NONE = DriverCapabilities()


def missing(capabilities: DriverCapabilities, needed: frozenset[str]) -> list[str]:
    """Give the names of the needed flags that are not set, sorted."""
    return sorted(name for name in needed if not getattr(capabilities, name))
