# SPDX-License-Identifier: Apache-2.0
"""The driver of one simulated host: the contract of `drivers.base`, answered from a shared world.

Keeps nothing of its own but subscriptions, so that its death loses nothing: what is under way is the world's.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import AsyncIterator, Callable, Collection

from wherry import errors
from wherry.drivers import base
from wherry.drivers.simulated import calling, checks, describing, fleet, making, powering, relocating, sending, world
from wherry.model import guest, host, migration

_S = guest.GuestState


class SimulatedDriver(powering.GuestPower, relocating.GuestRelocation, making.GuestBuilder):
    """The driver object of one host of a world."""

    def __init__(self, fleet_world: world.World, settings: base.HostSettings) -> None:
        super().__init__(fleet_world)
        self._settings = settings
        named = fleet_world.host_at(settings.connection_uri)
        self._name = settings.name if named is None else named.name
        self._is_open = False
        self._receivers: list[Callable[[base.Signal], None]] = []

    # -------------------------------------------------------------- hypervisor

    async def open(self) -> None:
        self._world.time.start()
        await calling.wait_for_answer(self._world, self._world.host(self._name), "open")
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        for receiver in self._receivers:
            self._world.host(self._name).receivers.remove(receiver)
        self._receivers.clear()

    async def describe_host(self) -> host.HostDescription:
        async with self._calling("describe_host") as here:
            return describing.describe_host(here, self._settings, self._world.time.now())

    async def describe_guests(self, uuids: Collection[str] | None = None) -> list[guest.Guest]:
        async with self._calling("describe_guests") as here:
            wanted = list(here.guests.values()) if uuids is None else [here.guests[uuid] for uuid in uuids if uuid in here.guests]
            return [describing.describe_guest(here, self._world.copying, local) for local in wanted]

    async def observe_guest(self, instance_uuid: str) -> guest.Observation:
        async with self._calling("observe_guest", instance_uuid) as here:
            job = self._world.copying.job_at(here, instance_uuid)
            local = here.guests.get(instance_uuid)
            if local is None:
                return guest.Observation(state=_S.ABSENT, has_job=job is not None)
            return guest.Observation(state=local.state, has_job=job is not None, was_resumed_by_job=local.was_resumed_by_job)

    async def measure_guest(self, instance_uuid: str) -> guest.Usage:
        async with self._calling("measure_guest", instance_uuid) as here:
            local = here.guests.get(instance_uuid)
            if local is None:
                raise errors.GuestNotFound(host=here.name, uuid=instance_uuid)
            return describing.measure_guest(local)

    def subscribe(self, receiver: Callable[[base.Signal], None]) -> Callable[[], None]:
        receivers = self._world.host(self._name).receivers

        def deliver(signal: base.Signal) -> None:
            # Signals that are on their way when the connection goes, or its process dies, reach nobody.
            if self._is_open and deliver in self._receivers:
                receiver(signal)

        receivers.append(deliver)
        self._receivers.append(deliver)

        def unsubscribe() -> None:
            if deliver in self._receivers:
                self._receivers.remove(deliver)
                receivers.remove(deliver)

        return unsubscribe

    # ------------------------------------------------------------- destination

    async def check_destination(
        self, task: base.Task, wanted: guest.Guest, request: migration.LiveMigrationRequest, source: host.HostDescription
    ) -> migration.DestinationFacts:
        async with self._calling("check_destination", task.instance_uuid) as here:
            checks.check_destination(here, wanted, source)
            # Named after the host, too: another one that was asked before may remove its own at any time.
            name = f".wherry-probe-{task.operation_id}-{here.name}"
            probes = tuple(migration.StorageProbe(directory=directory, name=name) for directory in checks.probe_directories(wanted.disks))
            for probe in probes:
                await task.record_created(posixpath.join(probe.directory, probe.name))
                here.stores[probe.directory].add(probe.name, 0)
            return migration.DestinationFacts(
                host=self._settings.name,
                connection_uri=self._world.uri(here.name),
                transfer_uri=f"simulated-memory://{self._settings.inbound_address or here.name}",
                probes=probes,
                free_bytes={probe.directory: here.stores[probe.directory].free_bytes for probe in probes},
                present_files=tuple(disk.source for disk in checks.writable_files(wanted.disks) if here.has_file(disk.source)),
                hypervisor_version=here.hypervisor_version,
                capabilities=here.profile.capabilities,
            )

    async def release_check(self, task: base.Task, probes: tuple[migration.StorageProbe, ...]) -> None:
        async with self._calling("release_check", task.instance_uuid) as here:
            for probe in probes:
                store = here.stores.get(probe.directory)
                if store is not None:
                    store.remove(probe.name)

    async def prepare_destination(self, task: base.Task, plan: migration.Plan) -> None:
        async with self._calling("prepare_destination", task.instance_uuid) as here:
            for disk in plan.storage.copied if plan.storage else ():
                await sending.create_disk(here, task, disk)

    async def finish_destination(self, task: base.Task, plan: migration.Plan) -> guest.Guest:
        async with self._calling("finish_destination", task.instance_uuid) as here:
            local = here.guests.get(task.instance_uuid)
            if local is None:
                raise errors.GuestNotFound(host=here.name, uuid=task.instance_uuid)
            if local.is_incoming:
                raise errors.HypervisorFailure(host=here.name, what="take over the guest", detail="it has not arrived yet")
            return describing.describe_guest(here, self._world.copying, local)

    async def roll_back_destination(self, task: base.Task, plan: migration.Plan) -> None:
        async with self._calling("roll_back_destination", task.instance_uuid) as here:
            sending.undo(here, self._world.copying, task)

    # ------------------------------------------------------------------ source

    async def check_source(
        self,
        task: base.Task,
        leaving: guest.Guest,
        request: migration.LiveMigrationRequest,
        facts: migration.DestinationFacts,
    ) -> migration.StoragePlan:
        async with self._calling("check_source", task.instance_uuid) as here:
            plan = checks.check_source(here, self._world.copying, leaving, request, facts, has_arrived_paused=task.has_arrived_paused)
            sending.check_way(self._world, here, facts)
            return plan

    async def start_transfer(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        async with self._calling("start_transfer", task.instance_uuid) as here:
            sending.start(self._world, here, task, plan, options=options, owner=self)

    async def read_transfer(self, instance_uuid: str) -> base.Transfer:
        async with self._calling("read_transfer", instance_uuid) as here:
            return sending.read(self._world.copying, here, instance_uuid, self)

    async def tune_transfer(self, instance_uuid: str, *, downtime_ms: int | None = None, bandwidth_mib_per_s: int | None = None) -> None:
        async with self._calling("tune_transfer", instance_uuid) as here:
            flags = here.profile.capabilities
            sending.require(here, downtime_ms is None or flags.downtime_change, "changing the downtime of a transfer under way")
            sending.require(here, bandwidth_mib_per_s is None or flags.bandwidth_change, "changing the bandwidth of a transfer under way")
            transfer = sending.under_way(self._world.copying, here, instance_uuid)
            self._world.copying.tune(transfer, downtime_ms=downtime_ms, bandwidth_mib_per_s=bandwidth_mib_per_s)

    async def abort_transfer(self, instance_uuid: str) -> None:
        async with self._calling("abort_transfer", instance_uuid) as here:
            sending.require(here, here.profile.capabilities.abort, "aborting a transfer")
            sending.abort(self._world.copying, here, instance_uuid)

    async def start_post_copy(self, instance_uuid: str) -> None:
        async with self._calling("start_post_copy", instance_uuid) as here:
            sending.require(here, here.profile.capabilities.force_complete_by_post_copy, "switching to post-copy")
            sending.switch_to_post_copy(self._world.copying, here, instance_uuid)

    async def resume_post_copy(self, task: base.Task, plan: migration.Plan, options: base.TransferOptions) -> None:
        async with self._calling("resume_post_copy", task.instance_uuid) as here:
            sending.require(here, here.profile.capabilities.post_copy_recovery, "resuming a broken post-copy")
            sending.resume_post_copy(self._world, here, task, plan)

    async def clean_up_source(self, task: base.Task, plan: migration.Plan) -> None:
        async with self._calling("clean_up_source", task.instance_uuid) as here:
            local = here.guests.get(task.instance_uuid)
            # In post-copy, and after it broke, a part of the guest is here and nowhere else.
            if local is None:
                making.remove_left_behind(self._world, here, task.instance_uuid, plan)
                return
            if local.state in (_S.RUNNING, _S.POST_COPY, _S.POST_COPY_FAILED):
                return
            if self._world.copying.job_at(here, task.instance_uuid) is not None:
                raise errors.HypervisorFailure(host=here.name, what="remove the stale domain", detail="its migration is under way")
            del here.guests[task.instance_uuid]
            making.remove_left_behind(self._world, here, task.instance_uuid, plan)

    # ------------------------------------------------------------------ pieces

    @contextlib.asynccontextmanager
    async def _calling(self, method: str, instance_uuid: str = "") -> AsyncIterator[fleet.Host]:
        here = self._world.host(self._name)
        if not self._is_open:
            raise errors.HypervisorUnavailable(host=self._settings.name, detail="this connection is closed; open() comes first")
        met = calling.faults_of(self._world, here, method, instance_uuid)
        for fault in met:
            await calling.suffer(self._world, here, fault, calling.Call(method, instance_uuid, is_done=False))
        await calling.wait_for_answer(self._world, here, method)
        yield here
        for fault in met:
            await calling.suffer(self._world, here, fault, calling.Call(method, instance_uuid, is_done=True))
