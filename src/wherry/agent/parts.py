# SPDX-License-Identifier: Apache-2.0
"""What an agent is made of, handed to each of its roles.

Holds no behaviour: whoever wires a process, or a test, chooses the parts.
"""

from __future__ import annotations

import dataclasses
import functools
import posixpath
import uuid

from wherry import background
from wherry import clock as wherry_clock
from wherry import config as wherry_config
from wherry.agent import boot_clock
from wherry.agent import journal as wherry_journal
from wherry.drivers import base
from wherry.images import base as images_base
from wherry.model import capabilities, deadline, migration
from wherry.model import host as model_host
from wherry.rpc import client as rpc_client
from wherry.rpc import server as rpc_server
from wherry.telemetry import metrics as wherry_metrics


def new_incarnation() -> str:
    """Make what tells one start of an agent from the next."""
    return str(uuid.uuid4())


@dataclasses.dataclass(kw_only=True, slots=True)
class Parts:
    """The surroundings of the agent of one host."""

    host: base.HostSettings
    driver: base.HypervisorDriver
    #: Sends as the agent of this host.
    client: rpc_client.Client
    #: Listens at the address of this host's agent; the agent registers its handlers and starts it.
    server: rpc_server.Server
    #: Replaced on reload: read it each time, keep no copy.
    config: wherry_config.Config
    clock: wherry_clock.Clock
    boot_clock: boot_clock.BootClock
    journal: wherry_journal.Journal
    #: Where the images of guests that are built here come from.
    images: images_base.ImageFiles
    metrics: wherry_metrics.Metrics | None = None
    #: Changes at each start.
    incarnation: str = dataclasses.field(default_factory=new_incarnation)
    background: background.Background = dataclasses.field(default_factory=background.Background)
    #: The host as its driver described it last; None until it has answered once.
    description: model_host.HostDescription | None = None

    @property
    def capabilities(self) -> capabilities.DriverCapabilities:
        """What the driver can do here, none of it until it has answered once."""
        return self.description.capabilities if self.description is not None else capabilities.NONE

    async def describe(self) -> model_host.HostDescription:
        """Have the driver describe the host, and add what the agent's own configuration decides."""
        found, section = await self.driver.describe_host(), self.config.libvirt
        rules = model_host.SendingRules(
            permits_post_copy=section.live_migration_permit_post_copy,
            timeout_action=deadline.TimeoutAction(section.live_migration_timeout_action),
            timeout_seconds_per_gib=section.live_migration_completion_timeout,
        )
        self.description = dataclasses.replace(found, sending_rules=rules)
        return self.description

    def task_of(self, entry: wherry_journal.Entry, *, is_check: bool = False) -> base.Task:
        """Give the driver its view of a migration.

        :param is_check: what it creates are probes.
        """
        return base.Task(
            operation_id=entry.operation_id,
            instance_uuid=entry.instance_uuid,
            record_created=functools.partial(self._record_created, entry, is_check),
            created=frozenset(entry.created),
            has_arrived_paused=self.journal.has_arrived_paused(entry.instance_uuid),
        )

    async def remove_probes(self, entry: wherry_journal.Entry) -> None:
        """Remove what checks have left here. The entry is the caller's to save."""
        if not entry.probes:
            return
        probes = tuple(migration.StorageProbe(directory=posixpath.dirname(one), name=posixpath.basename(one)) for one in entry.probes)
        await self.driver.release_check(self.task_of(entry), probes)
        entry.created = [name for name in entry.created if name not in entry.probes]
        entry.probes = []

    async def _record_created(self, entry: wherry_journal.Entry, is_probe: bool, name: str) -> None:
        if is_probe and name not in entry.probes:
            entry.probes.append(name)
        if name not in entry.created:
            entry.created.append(name)
        await self.journal.save(entry, is_synced=True)
