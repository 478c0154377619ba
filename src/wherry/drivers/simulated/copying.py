# SPDX-License-Identifier: Apache-2.0
"""The transfers of a world, and what can be done to them: looked at, started, steered, ended.

They belong to the world and not to a driver object, so that they go on when an agent dies. Refuses nothing: the driver has asked before.
"""

from __future__ import annotations

from wherry.drivers import base
from wherry.drivers.simulated import fleet, network, timeline
from wherry.drivers.simulated.course import Course, emit
from wherry.drivers.simulated.transfer import UNDECIDED, Order, Stage, Transfer, limit
from wherry.model import guest

_S = guest.GuestState


class Copying(Course):
    """Every transfer under way, by guest, with the handles to steer it."""

    def __init__(self, time: timeline.Timeline, core: network.Link | None, *, is_instant: bool) -> None:
        super().__init__(time, is_instant=is_instant)
        self._core = core

    # ----------------------------------------------------------------- looking

    def of(self, instance_uuid: str) -> Transfer | None:
        """Give the guest's transfer under way, settled to now."""
        now = self._time.now()
        transfer = self.active.get(instance_uuid)
        if transfer is not None:
            transfer.settle(now)
        return transfer

    def job_at(self, host: fleet.Host, instance_uuid: str) -> Transfer | None:
        """Give it if this host's hypervisor shows a job for it: the destination's ends when the guest has arrived."""
        transfer = self.of(instance_uuid)
        if transfer is None or transfer.stage is Stage.BROKEN:
            return None
        if host is transfer.order.source or (host is transfer.order.destination and transfer.stage is not Stage.CLOSING):
            return transfer
        return None

    def touching(self, host: fleet.Host) -> list[Transfer]:
        """Give the transfers out of and into a host."""
        return [transfer for transfer in self.active.values() if host in (transfer.order.source, transfer.order.destination)]

    # ------------------------------------------------------------------ acting

    def start(self, order: Order) -> Transfer:
        """Begin; the guest must be at the source and not at the destination."""
        links = (order.source.uplink, order.destination.downlink, *((self._core,) if self._core else ()))
        now = self._time.now()
        transfer = Transfer(order, links, now)
        self.active[order.spec.uuid] = transfer
        self.ended.pop((order.source.name, order.spec.uuid), None)
        order.destination.guests[order.spec.uuid] = fleet.Guest(order.spec, _S.PAUSED_FOR_SWITCH_OVER, is_incoming=True)
        emit(order.destination, base.SignalKind.LIFECYCLE, order.spec.uuid, "incoming")
        self._tell(transfer, "started")
        if transfer.stage is Stage.ENDED:
            return transfer
        if self._is_instant and self.is_fatal(transfer):
            self.crash_source(transfer)
        elif self._is_instant:
            transfer.send_everything()
            self._arrive(transfer)
        else:
            for link in links:
                link.flows[transfer] = None
            self.reshare(links)
        return transfer

    def tune(self, transfer: Transfer, *, downtime_ms: int | None, bandwidth_mib_per_s: int | None) -> None:
        """Change limits; a longer downtime may end the copy at once."""
        if downtime_ms is not None:
            transfer.downtime_seconds = max(1, downtime_ms) / 1000
        if bandwidth_mib_per_s is not None:
            transfer.limit_bytes_per_second = limit(bandwidth_mib_per_s)
            self.reshare(transfer.links)
        self._reconsider(transfer)

    def abort(self, transfer: Transfer) -> None:
        """End a transfer whose guest is still whole at the source."""
        self.cancel(transfer, "operation aborted: migration out job: canceled by client")

    def pause(self, host: fleet.Host, instance_uuid: str) -> None:
        """Pause a running guest, so that nothing dirties its memory any more. One that does not run is left alone."""
        local = host.guests.get(instance_uuid)
        if local is None or local.state is not _S.RUNNING:
            return
        transfer = self.of(instance_uuid)
        is_leaving = transfer is not None and host is transfer.order.source and transfer.stage in UNDECIDED
        # libvirt says "paused (migration)" of any pause during a migration, whoever made it.
        self._set_state(host, instance_uuid, _S.PAUSED_FOR_SWITCH_OVER if is_leaving else _S.PAUSED)
        if is_leaving and transfer is not None:
            transfer.dirty_rate = 0.0
            transfer.paused_at = self._time.now()
            self._reconsider(transfer)

    def resume(self, host: fleet.Host, instance_uuid: str) -> None:
        """Let a paused guest run on; not during its migration, where libvirt refuses it."""
        local = host.guests.get(instance_uuid)
        is_paused = local is not None and local.state in (_S.PAUSED, _S.PAUSED_FOR_SWITCH_OVER) and not local.is_incoming
        if is_paused and self.job_at(host, instance_uuid) is None:
            self._set_state(host, instance_uuid, _S.RUNNING)

    def cancel(self, transfer: Transfer, error: str) -> None:
        """End it with the guest running on at the source, or paused if it was when it started, whoever has paused it since."""
        order = transfer.order
        transfer.settle(self._time.now())
        self._end(transfer, error)
        self._drop_incoming(transfer)
        local = order.source.guests.get(order.spec.uuid)
        if local is not None and local.state in (_S.PAUSED, _S.PAUSED_FOR_SWITCH_OVER):
            # libvirt resumes what it finds paused after a failed transfer that began with a running guest, also where we suspended it.
            if order.is_paused:
                self._set_state(order.source, order.spec.uuid, _S.PAUSED)
            else:
                self._resume_by_job(order.source, order.spec.uuid)
        self._announce_end(transfer)

    def forsake(self, transfer: Transfer, error: str) -> None:
        """End it with both sides as they are, and nothing that is incoming left: the guest itself is gone at one of them."""
        transfer.settle(self._time.now())
        was_post_copy = transfer.stage in (Stage.POST_COPY, Stage.BROKEN)
        self._end(transfer, error)
        if was_post_copy:
            for host in (transfer.order.source, transfer.order.destination):
                local = host.guests.get(transfer.order.spec.uuid)
                if local is not None and local.state is _S.POST_COPY:
                    self._set_state(host, transfer.order.spec.uuid, _S.POST_COPY_FAILED)
        else:
            self._drop_incoming(transfer)
        self._announce_end(transfer)

    def break_post_copy(self, transfer: Transfer) -> None:
        """Lose the connection in post-copy: both sides keep their part, and neither has a job."""
        order = transfer.order
        transfer.settle(self._time.now())
        self._end(transfer, "job 'migration out' failed in post-copy phase")
        transfer.stage = Stage.BROKEN
        self._set_state(order.source, order.spec.uuid, _S.POST_COPY_FAILED)
        self._set_state(order.destination, order.spec.uuid, _S.POST_COPY_FAILED)
        self._announce_end(transfer)

    def resume_post_copy(self, transfer: Transfer) -> None:
        """Let a broken post-copy flow again from where it stood."""
        order, now = transfer.order, self._time.now()
        transfer.at = now
        transfer.stage, transfer.error = Stage.POST_COPY, ""
        self.active[order.spec.uuid] = transfer
        self.ended.pop((order.source.name, order.spec.uuid), None)
        self._set_state(order.source, order.spec.uuid, _S.POST_COPY)
        self._set_state(order.destination, order.spec.uuid, _S.POST_COPY)
        for link in transfer.links:
            link.flows[transfer] = None
        self.reshare(transfer.links)

    def daemon_answers(self, host: fleet.Host) -> None:
        """Let transfers switch over that waited for this daemon."""
        for transfer in self.touching(host):
            if transfer.is_held:
                transfer.settle(self._time.now())
                transfer.is_held = False
                self._reconsider(transfer)
