# SPDX-License-Identifier: Apache-2.0
"""Transfers out of one host: begun here or found under way, read, tuned, aborted, switched to post-copy.

Never judges an outcome: the migrate call's error is passed on as text, for the reader of the truth table.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import libvirt

from wherry import clock as wherry_clock
from wherry import errors
from wherry.drivers import base
from wherry.drivers.libvirt import capabilities, connection, job, observe, post_copy, transfer_call
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest, progress
from wherry.telemetry import logs

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

_log = logs.get_logger(__name__)
#: Ended transfers whose last counters and error are kept, for a reader that comes late.
_KEPT_RECORDS = 500
#: States in which a source has the whole guest, as before the call.
_UNTOUCHED = frozenset({guest.GuestState.RUNNING, guest.GuestState.PAUSED})


@dataclasses.dataclass(slots=True)
class _Record:
    """What this process knows of one guest's latest transfer."""

    #: The migrate call, where this process made it.
    task: asyncio.Task[None] | None = None
    call_error: str = ""
    #: Whether that was libvirt's word that it cannot be done now.
    is_refused: bool = False
    #: Whether the copy was seen to begin: an error before that is a refusal.
    has_copied: bool = False
    #: Whether we aborted it: what follows is no refusal either.
    was_aborted: bool = False
    last_progress: progress.Progress | None = None

    @property
    def is_calling(self) -> bool:
        return self.task is not None and not self.task.done()


class Transfers:
    """All transfers out of one host."""

    def __init__(self, link: connection.Link, section: libvirt_config.LibvirtSection, clock: wherry_clock.Clock) -> None:
        self._link = link
        self._section = section
        self._clock = clock
        self._records: collections.OrderedDict[str, _Record] = collections.OrderedDict()
        self._failures = post_copy.Failures(section, clock)
        link.watch.on_progress = self._take_last_progress
        link.watch.subscribe(self._take_signal)

    async def start(self, call: transfer_call.Call) -> None:
        """Start sending, or join what is under way; return when it copies or has ended.

        :raises TransferRefused: when nothing was started.
        """
        uuid = call.instance_uuid
        record = self._records.get(uuid)
        if record is None or not record.is_calling:
            if (await self._read(uuid)).name == job.MIGRATION_OUT:
                return
            # Nothing is awaited from here to the record, so of two starts one finds the other's.
            record = self._records.get(uuid)
            if record is None or not record.is_calling:
                record = self._begin(call)
        await self._wait_for_copy(uuid, record)

    async def read(self, instance_uuid: str) -> base.Transfer:
        """Read job and counters, whoever started it."""
        record = self._records.get(instance_uuid)
        seen = await self._look(instance_uuid)
        # libvirt keeps the job of a broken post-copy; nothing of it is under way.
        is_active = seen.job.name == job.MIGRATION_OUT and seen.state is not guest.GuestState.POST_COPY_FAILED
        current = job.to_progress(seen.job.statistics) if is_active and seen.job.statistics else None
        if record is not None and current is not None:
            record.last_progress = current
            record.has_copied = record.has_copied or seen.job.has_copied
        return base.Transfer(
            is_active=is_active or (record is not None and record.is_calling),
            is_post_copy=seen.state in (guest.GuestState.POST_COPY, guest.GuestState.POST_COPY_FAILED),
            progress=current or (record.last_progress if record else None),
            call_error=record.call_error if record else "",
        )

    async def tune(self, instance_uuid: str, downtime_ms: int | None, bandwidth_mib_per_s: int | None) -> None:
        """Change limits of the transfer under way."""

        def change(handle: libvirt.virConnect) -> bool:
            domain = _sending(handle, instance_uuid)
            if domain is None:
                return False
            if downtime_ms is not None:
                domain.migrateSetMaxDowntime(downtime_ms, 0)
            if bandwidth_mib_per_s is not None:
                domain.migrateSetMaxSpeed(bandwidth_mib_per_s or transfer_call.UNLIMITED_MIB_PER_S, 0)
            return True

        await self._act(instance_uuid, "tune the transfer", change)

    async def abort(self, instance_uuid: str) -> None:
        """Abort; the end comes as a signal."""

        def cancel(handle: libvirt.virConnect) -> bool:
            domain = _sending(handle, instance_uuid)
            if domain is None:
                return False
            domain.abortJob()
            return True

        record = self._records.get(instance_uuid)
        if record is not None:
            record.was_aborted = True
        await self._act(instance_uuid, "abort the transfer", cancel)

    async def start_post_copy(self, instance_uuid: str) -> None:
        """Switch to post-copy."""

        def switch(handle: libvirt.virConnect) -> bool:
            domain = _sending(handle, instance_uuid)
            if domain is None:
                return False
            if observe.guest_state(*domain.state(), is_incoming=False) in (guest.GuestState.POST_COPY, guest.GuestState.POST_COPY_FAILED):
                return True
            try:
                domain.migrateStartPostCopy(0)
            except libvirt.libvirtError as problem:
                # The job is there (it was just read), so this is the one thing left that is invalid.
                if libvirt_errors.code(problem) in libvirt_errors.INVALID_NOW and _sending(handle, instance_uuid) is not None:
                    raise errors.Unsupported(
                        what="Post-copy for a transfer that was not started for it", driver=capabilities.DRIVER
                    ) from problem
                raise
            return True

        await self._act(instance_uuid, "switch to post-copy", switch)

    async def observe(self, instance_uuid: str) -> guest.Observation:
        """Give this side's cell of the truth table."""
        seen = await self._look(instance_uuid)
        was_resumed = observe.was_resumed_by_job(seen.detail)
        return guest.Observation(state=seen.state, has_job=seen.job.is_migration, detail=seen.detail, was_resumed_by_job=was_resumed)

    async def resume_post_copy(self, call: transfer_call.Call) -> None:
        """Connect a broken post-copy again, or join who does; return when memory flows or the call has ended.

        :raises NoActiveTransfer: when nothing is broken here.
        :raises TransferRefused: when it could not be connected.
        """
        uuid = call.instance_uuid
        problem = await self._resume(call)
        must_tell = problem and self._failures.note_attempt(uuid, is_refused=self._records[uuid].is_refused)
        if must_tell and await self._link.call("pause the post-copy", post_copy.close_at_source, uuid):
            problem = await self._resume(call)
        if problem:
            raise errors.TransferRefused(uuid=uuid, detail=problem)

    async def close(self) -> None:
        """Stop waiting for the calls; what they do goes on."""
        tasks = [record.task for record in self._records.values() if record.task is not None and not record.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---------------------------------------------------------------- inside

    async def _resume(self, call: transfer_call.Call) -> str:
        """Try to connect once; give why it is still broken, empty when it is not."""
        uuid = call.instance_uuid
        record = self._records.get(uuid)
        if record is None or not record.is_calling:
            seen = await self._look(uuid)
            if seen.state is guest.GuestState.POST_COPY:
                return ""
            if seen.state is not guest.GuestState.POST_COPY_FAILED:
                raise errors.NoActiveTransfer(uuid=uuid, host=self._link.host)
            # Nothing is awaited from here to the record, as in start().
            record = self._records.get(uuid)
            if record is None or not record.is_calling:
                record = self._begin(call)
        while record.is_calling:
            if (await self._look(uuid)).state is guest.GuestState.POST_COPY:
                return ""
            if record.task is not None:
                await asyncio.wait({record.task}, timeout=self._section.start_poll_interval_seconds)
        # Refused or failed, the call says nothing about QEMU, which may not have noticed the break yet, or may have connected.
        is_broken = record.call_error and (await self._look(uuid)).state is guest.GuestState.POST_COPY_FAILED
        return record.call_error if is_broken else ""

    async def _look(self, uuid: str) -> post_copy.Look:
        return self._failures.corrected(uuid, await self._link.call("look at the guest", post_copy.look, uuid))

    async def _act(self, instance_uuid: str, what: str, function: Any) -> None:
        def act(handle: libvirt.virConnect) -> bool:
            try:
                return bool(function(handle))
            except libvirt.libvirtError as problem:
                # The job ended between our look and our call.
                if libvirt_errors.code(problem) in (libvirt.VIR_ERR_NO_DOMAIN, *libvirt_errors.INVALID_NOW) and (
                    _sending(handle, instance_uuid) is None
                ):
                    return False
                raise

        if not await self._link.call(what, act):
            raise errors.NoActiveTransfer(uuid=instance_uuid, host=self._link.host)

    def _begin(self, call: transfer_call.Call) -> _Record:
        record = self._new_record(call.instance_uuid)
        record.task = asyncio.create_task(self._run(call, record), name=f"libvirt-migrate-{call.instance_uuid}")
        return record

    def _new_record(self, uuid: str) -> _Record:
        self._records.pop(uuid, None)
        record = self._records[uuid] = _Record()
        surplus = len(self._records) - _KEPT_RECORDS
        if surplus > 0:
            for old in [key for key, item in self._records.items() if not item.is_calling and item is not record][:surplus]:
                del self._records[old]
        return record

    async def _run(self, call: transfer_call.Call, record: _Record) -> None:
        uuid = call.instance_uuid
        try:
            async with self._link.transfer_lane() as lane:
                # In post-copy there is no switch-over left that could take long.
                is_set = call.is_resuming or await self._link.call("set the downtime", transfer_call.set_downtime, call)
                late = None if is_set else asyncio.create_task(self._set_downtime_late(call))
                try:
                    await self._link.run_transfer(lane, lambda handle: transfer_call.perform(handle, call))
                finally:
                    if late is not None:
                        late.cancel()
        except asyncio.CancelledError:
            # The driver is closed; the transfer goes on, so nothing has ended.
            raise
        except errors.Error as problem:
            record.call_error = str(problem.fields.get("detail") or problem)
            cause = problem.__cause__
            record.is_refused = isinstance(cause, libvirt.libvirtError) and libvirt_errors.code(cause) in libvirt_errors.INVALID_NOW
            _log.info("the migrate call ended with an error", host=self._link.host, instance_uuid=uuid, error=record.call_error)
        except Exception as problem:
            record.call_error = str(problem) or type(problem).__name__
            _log.exception("the migrate call failed unexpectedly", host=self._link.host, instance_uuid=uuid)
        # After this task is done, so that a reader who comes at once finds the call ended.
        signal = base.Signal(kind=base.SignalKind.TRANSFER_ENDED, instance_uuid=uuid, detail=record.call_error)
        asyncio.get_running_loop().call_soon(self._link.watch.emit, signal)

    async def _set_downtime_late(self, call: transfer_call.Call) -> None:
        while not await self._link.call("set the downtime", transfer_call.set_downtime, call):
            await self._clock.sleep(self._section.start_poll_interval_seconds)

    async def _wait_for_copy(self, uuid: str, record: _Record) -> None:
        """Wait until the copy has begun or the call has ended; after start_wait_seconds a job that is there is enough."""
        given_up_at = self._clock.monotonic() + self._section.start_wait_seconds
        while record.is_calling and not record.has_copied:
            seen = await self._read(uuid)
            if seen.has_copied or (seen.name and self._clock.monotonic() >= given_up_at):
                return
            if record.task is not None:
                await asyncio.wait({record.task}, timeout=self._section.start_poll_interval_seconds)
        if not record.call_error or record.has_copied or record.was_aborted:
            return
        seen_now = await self._look(uuid)
        if seen_now.state in _UNTOUCHED and not seen_now.job.name:
            raise errors.TransferRefused(uuid=uuid, detail=record.call_error)

    async def _read(self, uuid: str) -> job.Job:
        return (await self._look(uuid)).job

    def _take_last_progress(self, instance_uuid: str, statistics: dict[str, Any]) -> None:
        record = self._records.get(instance_uuid) or self._new_record(instance_uuid)
        record.last_progress = job.to_progress(statistics, is_ended=True)

    def _take_signal(self, signal: base.Signal) -> None:
        record = self._records.get(signal.instance_uuid)
        if record is not None and record.is_calling and signal.kind is base.SignalKind.ITERATION:
            record.has_copied = True


def _sending(handle: libvirt.virConnect, instance_uuid: str) -> libvirt.virDomain | None:
    """Give the domain when it is being migrated out; another job of it is none of ours."""
    domain = observe.find(handle, instance_uuid)
    if domain is None or job.read(domain).name != job.MIGRATION_OUT:
        return None
    return domain
