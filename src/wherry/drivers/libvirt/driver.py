# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver of one host: each method of the contract, handed to the module that knows how.

Holds no rule of its own. A method's functions run in daemon threads on connections of the host's link, bounded by call_timeout_seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import (
    addresses,
    capabilities,
    check_destination,
    check_source,
    connection,
    describe,
    destination,
    making,
    measuring,
    power,
    reachability,
    relocation,
    source,
    storage,
    transfer,
    transfer_call,
)
from wherry.drivers.libvirt import host as libvirt_host
from wherry.model import guest, host, migration

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

#: Guests described in one call, so that a large inventory does not keep a connection for long.
_GUESTS_AT_A_TIME = 25


class LibvirtDriver(power.GuestPower, relocation.GuestRelocation, making.GuestBuilder):
    """Serves one host."""

    def __init__(self, settings: base.HostSettings, section: libvirt_config.LibvirtSection, clock: wherry_clock.Clock) -> None:
        super().__init__(connection.Link(settings, section, clock), section.suspend_timeout_seconds)
        self._settings = settings
        self._section = section
        self._clock = clock
        self._files = storage.Storage(settings.name, section.call_timeout_seconds)
        self._maker = making.Maker(self._link, self._files, section)
        self._transfers = transfer.Transfers(self._link, section, clock)
        self._sizes = describe.SizeCache(section.disk_size_max_age_seconds)
        self._description: host.HostDescription | None = None

    # ---------------------------------------------------------------- the hypervisor

    async def open(self) -> None:
        """Connect."""
        await self._link.open()
        description = await self.describe_host()
        if (
            self._section.live_migration_parallel_connections > 1
            and self._section.live_migration_permit_post_copy
            and description.hypervisor_version < capabilities.PARALLEL_POST_COPY_QEMU
        ):
            await self.close()
            raise errors.ConfigInvalid(
                where="[libvirt] live_migration_parallel_connections",
                problem=f"the QEMU of {self._settings.name} cannot switch to post-copy with parallel connections before version 10.1",
                instead="Set live_migration_parallel_connections = 1, or live_migration_permit_post_copy = false.",
            )

    async def close(self) -> None:
        """Let go; transfers go on."""
        await self._transfers.close()
        await self._link.close()

    async def describe_host(self) -> host.HostDescription:
        """Describe hypervisor and host."""
        described = await self._link.call("describe the host", libvirt_host.describe, self._settings, self._section)
        self._description = dataclasses.replace(described, host_address=await self._address(described.hypervisor_hostname))
        return self._description

    async def _address(self, hostname: str) -> str:
        known = self._description.host_address if self._description is not None else ""
        inbound = libvirt_host.inbound_address(self._settings, self._section)
        names = addresses.names_of(self._settings.connection_uri, inbound, hostname)
        # A name server is asked once, not with every inventory.
        return known or await addresses.first_of(names, self._section.open_timeout_seconds)

    async def describe_guests(self, uuids: Collection[str] | None = None) -> list[guest.Guest]:
        """Describe these guests, or all."""
        wanted = list(uuids) if uuids is not None else await self._link.call("list the guests", describe.list_uuids)
        if uuids is None:
            self._sizes.keep_only(wanted)
        now = self._clock.monotonic()
        found: list[guest.Guest] = []
        for start in range(0, len(wanted), _GUESTS_AT_A_TIME):
            some = wanted[start : start + _GUESTS_AT_A_TIME]
            found += await self._link.call("describe guests", describe.describe, some, self._sizes, now, may_be_cached=uuids is None)
        return found

    async def observe_guest(self, instance_uuid: str) -> guest.Observation:
        """Give this side's cell of the truth table."""
        return await self._transfers.observe(instance_uuid)

    async def measure_guest(self, instance_uuid: str) -> guest.Usage:
        """Give what the guest has used."""
        return await self._link.call("measure a guest", measuring.measure, self._settings.name, instance_uuid)

    def subscribe(self, receiver: Callable[[base.Signal], None]) -> Callable[[], None]:
        """Have signals given to `receiver`."""
        return self._link.watch.subscribe(receiver)

    # ---------------------------------------------------------------- a destination

    async def check_destination(
        self, task: base.Task, wanted: guest.Guest, request: migration.LiveMigrationRequest, source: host.HostDescription
    ) -> migration.DestinationFacts:
        """Check that the guest could run here."""
        description = self._description or await self.describe_host()
        question = check_destination.Question(host=self._settings.name, wanted=wanted, source_cpu=source.cpu)
        answer = await self._link.call("check the destination", check_destination.check, question, self._files)
        name = storage.probe_name(task.operation_id, self._settings.name)
        wished = tuple(migration.StorageProbe(directory=directory, name=name) for directory in answer.directories)
        for probe in wished:
            await task.record_created(f"{probe.directory}/{probe.name}")
        probes, free = await self._link.call("probe the storage", check_destination.probe, self._files, wished)
        address = libvirt_host.inbound_address(self._settings, self._section)
        return migration.DestinationFacts(
            host=self._settings.name,
            connection_uri=libvirt_host.connection_uri(self._section, address or description.hypervisor_hostname),
            transfer_uri=libvirt_host.transfer_uri(self._section, address),
            agent_uri=self._settings.connection_uri,
            hypervisor_uuid=description.hypervisor_uuid,
            probes=probes,
            free_bytes=free,
            present_files=answer.present_files,
            hypervisor_version=description.hypervisor_version,
            capabilities=description.capabilities,
            warnings=answer.warnings,
        )

    async def release_check(self, task: base.Task, probes: tuple[migration.StorageProbe, ...]) -> None:
        """Remove the probes."""
        if probes:
            await self._link.call("remove probes", check_destination.release, self._files, probes)

    async def prepare_destination(self, task: base.Task, plan: migration.Plan) -> None:
        """Create the copied disks that are missing."""
        await destination.prepare(self._link, self._files, task, _storage(plan))
        for path in sorted(source.left_behind(plan)):
            # The console's file comes with the guest: an undo takes it away again.
            if await self._link.call("look for a file", self._files.length, path) is None:
                await task.record_created(path)

    async def finish_destination(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        """Make the arrived guest this host's own."""
        is_persistent = plan.guest is not None and plan.guest.is_persistent

        await self._link.call("take the guest in", destination.finish, task.instance_uuid, is_persistent=is_persistent)
        return await self._described(task.instance_uuid)

    async def roll_back_destination(self, task: base.Task, plan: migration.Plan) -> None:
        """Remove what this migration made here."""
        given_up_at = self._clock.monotonic() + self._section.call_timeout_seconds
        while await self._link.call("remove a leftover", destination.remove_leftover, task.instance_uuid):
            if self._clock.monotonic() >= given_up_at:
                raise errors.HypervisorFailure(host=self._settings.name, what="undo the migration", detail="it is still coming in")
            await self._clock.sleep(self._section.start_poll_interval_seconds)
        if task.created:
            await self._link.call("delete what was created", destination.delete_created, self._files, task.created)

    # ---------------------------------------------------------------- a source

    async def check_source(
        self,
        task: base.Task,
        leaving: guest.Guest,
        request: migration.LiveMigrationRequest,
        facts: migration.DestinationFacts,
    ) -> migration.StoragePlan:
        """Check that the guest may leave, and classify its disks."""
        question = check_source.Question(
            host=self._settings.name, leaving=leaving, request=request, facts=facts, has_arrived_paused=task.has_arrived_paused
        )
        await self._link.call("check the guest", check_source.check_guest, question)
        plan = await self._link.call("classify the disks", check_source.classify, question, self._files, self._section)
        await self._check_reachable(leaving, facts, plan)
        return plan

    async def start_transfer(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        """Start sending."""
        if plan.guest is None or plan.facts is None:
            raise errors.Internal(detail="a transfer was asked for before the checks had filled its plan")
        call = transfer_call.make(plan.guest, plan.facts, _storage(plan), options, self._section)
        await self._transfers.start(call)

    async def read_transfer(self, instance_uuid: str) -> base.Transfer:
        """Read job and counters."""
        return await self._transfers.read(instance_uuid)

    async def tune_transfer(self, instance_uuid: str, *, downtime_ms: int | None = None, bandwidth_mib_per_s: int | None = None) -> None:
        """Change limits of the transfer under way."""
        await self._transfers.tune(instance_uuid, downtime_ms, bandwidth_mib_per_s)

    async def abort_transfer(self, instance_uuid: str) -> None:
        """Abort."""
        await self._transfers.abort(instance_uuid)

    async def start_post_copy(self, instance_uuid: str) -> None:
        """Switch to post-copy."""
        await self._transfers.start_post_copy(instance_uuid)

    async def resume_post_copy(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        """Connect a broken post-copy again."""
        if plan.guest is None or plan.facts is None:
            raise errors.Internal(detail="a post-copy was to be resumed without the plan of its transfer")
        if not (self._description or await self.describe_host()).capabilities.post_copy_recovery:
            raise errors.Unsupported(what="Resuming a broken post-copy", driver=capabilities.DRIVER)
        call = transfer_call.make(plan.guest, plan.facts, _storage(plan), options, self._section)
        await self._transfers.resume_post_copy(transfer_call.resuming(call))

    async def clean_up_source(self, task: base.Task, plan: migration.Plan) -> None:
        """Remove the stale domain, and the disks that were made for it and went along."""
        await self._link.call("remove the stale domain", source.remove_stale, task.instance_uuid)
        left = source.left_behind(plan)
        if left:
            await self._link.call("delete what was copied away", destination.delete_created, self._files, left)

    # ---------------------------------------------------------------- inside

    async def _described(self, instance_uuid: str) -> guest.Guest:
        found = await self.describe_guests([instance_uuid])
        if not found:
            raise errors.GuestNotFound(host=self._settings.name, uuid=instance_uuid)
        return found[0]

    async def _check_reachable(self, leaving: guest.Guest, facts: migration.DestinationFacts, plan: migration.StoragePlan) -> None:
        seconds, name = self._section.reachability_timeout_seconds, self._settings.name
        if reachability.is_local(self._settings.connection_uri):
            problem = await reachability.try_addresses(facts.connection_uri, facts.transfer_uri, seconds)
            if problem:
                raise errors.MigrationAddressUnreachable(source=name, host=facts.host, address=facts.connection_uri, detail=problem)
        options = base.TransferOptions(downtime_ms=self._section.live_migration_downtime, permit_post_copy=False)
        call = transfer_call.make(leaving, facts, plan, options, self._section)
        try:
            await self._link.call_within(
                seconds, "reach the destination", lambda handle: reachability.rehearse(handle, call, name, facts.host)
            )
        except errors.HypervisorUnavailable:
            # Did the source not answer, or the destination not answer the source?
            await self._transfers.observe(leaving.uuid)
            raise errors.MigrationAddressUnreachable(
                source=name, host=facts.host, address=facts.connection_uri, detail=f"no answer within {seconds:g} s"
            ) from None


def _storage(plan: migration.Plan) -> migration.StoragePlan:
    return plan.storage or migration.StoragePlan()
