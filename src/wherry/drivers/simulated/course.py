# SPDX-License-Identifier: Apache-2.0
"""The course of transfers: pass after pass, switch-over, arrival, end, each when its time comes.

Decides nothing that a driver asks for: that is `copying`, which stands on this.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Iterable

from wherry.drivers import base
from wherry.drivers.simulated import fleet, network, timeline
from wherry.drivers.simulated.transfer import SENDING, Stage, Transfer
from wherry.model import guest

_S = guest.GuestState
#: Ended transfers whose last counters are kept.
_REMEMBERED = 10_000

#: Told of each step that a transfer takes: the transfer, and "started", "iteration", "switch_over", "post_copy", "arrived", "ended".
Observer = Callable[[Transfer, str], None]


def emit(host: fleet.Host, kind: base.SignalKind, instance_uuid: str = "", detail: str = "") -> None:
    """Give a hint to whoever watches the host; a daemon that is down gives none."""
    if not host.receivers or (host.daemon is not fleet.Daemon.UP and kind is not base.SignalKind.CONNECTION):
        return
    signal = base.Signal(kind=kind, instance_uuid=instance_uuid, detail=detail)
    loop = asyncio.get_running_loop()
    for receiver in host.receivers:
        loop.call_soon(receiver, signal)


class Course:
    """Every transfer under way, by guest, going on by itself."""

    def __init__(self, time: timeline.Timeline, *, is_instant: bool) -> None:
        self._time = time
        self._is_instant = is_instant
        self.active: dict[str, Transfer] = {}
        #: The last ended transfer of each (source, guest).
        self.ended: dict[tuple[str, str], Transfer] = {}
        self.observers: list[Observer] = []

    @property
    def is_instant(self) -> bool:
        """Whether nothing takes any time."""
        return self._is_instant

    def reshare(self, links: Iterable[network.Link]) -> None:
        """Share bandwidth out anew among whatever depends on these links."""
        now = self._time.now()
        flows = [flow for flow in network.connected(links) if isinstance(flow, Transfer)]
        if not flows:
            return
        rates = [flow.rate for flow in flows]
        for flow in flows:
            flow.settle(now)
        network.share(flows)
        for flow, rate in zip(flows, rates, strict=True):
            # A transfer whose share did not change keeps its moment, to the bit.
            if flow.rate != rate or flow.entry is None:
                self._schedule(flow)

    def switch_to_post_copy(self, transfer: Transfer) -> None:
        """Let the guest run at the destination; while disks are copied, as soon as they are."""
        if transfer.stage is Stage.DISKS:
            transfer.wants_post_copy = True
            return
        if transfer.stage is not Stage.MEMORY:
            return
        transfer.begin_last_part(Stage.POST_COPY)
        transfer.is_held = False
        transfer.measured_downtime = transfer.latency
        order = transfer.order
        self._set_state(order.source, order.spec.uuid, _S.POST_COPY)
        self._set_state(order.destination, order.spec.uuid, _S.POST_COPY)
        self._tell(transfer, "post_copy")
        self._schedule(transfer)

    # ----------------------------------------------------------- what comes due

    def _schedule(self, transfer: Transfer) -> None:
        if transfer.entry is not None:
            transfer.entry.cancel()
            transfer.entry = None
        if transfer.stage is Stage.ENDED:
            return
        moment = transfer.next_moment()
        if moment != math.inf:
            transfer.entry = self._time.at(moment, functools.partial(self._come_due, transfer))

    def _come_due(self, transfer: Transfer) -> None:
        transfer.entry = None
        transfer.settle(self._time.now())
        if transfer.stage in SENDING:
            # Floats leave a crumb of the last byte, which would take a timer of its own.
            transfer.left = 0.0
        _NEXT[transfer.stage](self, transfer)

    def _end_disks(self, transfer: Transfer) -> None:
        transfer.begin_memory()
        if transfer.wants_post_copy:
            self.switch_to_post_copy(transfer)
        else:
            self._schedule(transfer)

    def _end_pass(self, transfer: Transfer) -> None:
        transfer.begin_pass()
        uuid = transfer.order.spec.uuid
        emit(transfer.order.source, base.SignalKind.ITERATION, uuid, str(transfer.iteration))
        self._tell(transfer, "iteration")
        if transfer.stage is Stage.MEMORY:
            self._reconsider(transfer)

    def _reconsider(self, transfer: Transfer) -> None:
        # Also between the ends of passes: a longer downtime or a paused guest can let the copy end now.
        if transfer.stage is Stage.MEMORY and transfer.can_switch_over():
            # Held back rather than copied on: passes that shrink without end would take timers without end.
            transfer.is_held = not self._may_switch_over(transfer)
            if not transfer.is_held and self.is_fatal(transfer):
                self.crash_source(transfer)
                return
            if not transfer.is_held:
                transfer.begin_last_part(Stage.SWITCH_OVER)
                self._set_state(transfer.order.source, transfer.order.spec.uuid, _S.PAUSED_FOR_SWITCH_OVER)
                self._tell(transfer, "switch_over")
        self._schedule(transfer)

    @staticmethod
    def _may_switch_over(transfer: Transfer) -> bool:
        # Both daemons have a part in it, and one that hangs lets the copy go on and on.
        return all(host.daemon is not fleet.Daemon.SILENT for host in (transfer.order.source, transfer.order.destination))

    def _end_switch_over(self, transfer: Transfer) -> None:
        self._release_links(transfer)
        transfer.stage = Stage.ARRIVING
        transfer.due = self._time.now() + transfer.latency
        # libvirt counts from when the guest stopped, also when it was stopped by a request long before (libvirt 9.0).
        stopped_at = transfer.pass_began if transfer.paused_at is None else transfer.paused_at
        transfer.measured_downtime = transfer.due - stopped_at
        self._schedule(transfer)

    def _arrive(self, transfer: Transfer) -> None:
        order = transfer.order
        uuid = order.spec.uuid
        arrived = order.destination.guests[uuid]
        arrived.is_incoming = False
        arrived.shows_arrival, arrived.has_inactive_images = True, order.is_paused
        self._set_state(order.destination, uuid, _S.PAUSED if order.is_paused else _S.RUNNING)
        if not self._is_instant:
            # Told while the source still waits, so that an observer can take the closing reply away.
            transfer.stage = Stage.CLOSING
        self._tell(transfer, "arrived")
        if transfer.stage is Stage.ENDED:
            return
        transfer.stage = Stage.CLOSING
        if self._is_instant and transfer.reply_lost_seconds is None:
            self._close(transfer)
            return
        delay = transfer.latency if transfer.reply_lost_seconds is None else transfer.reply_lost_seconds
        transfer.due = self._time.now() + delay
        self._schedule(transfer)

    def _close(self, transfer: Transfer) -> None:
        order = transfer.order
        uuid = order.spec.uuid
        if transfer.reply_lost_seconds is None:
            self._end(transfer, "")
            order.source.guests.pop(uuid, None)
            emit(order.source, base.SignalKind.LIFECYCLE, uuid, "gone")
        else:
            self._end(transfer, "operation failed: lost connection to destination host")
            if order.has_unlocked_disks and not order.is_paused and uuid in order.source.guests:
                # libvirt takes the transfer for failed and resumes; only a lock on the image can keep it from that.
                self._resume_by_job(order.source, uuid)
        self._announce_end(transfer)

    def _end_post_copy(self, transfer: Transfer) -> None:
        order = transfer.order
        self._release_links(transfer)
        order.source.guests.pop(order.spec.uuid, None)
        order.destination.guests[order.spec.uuid].is_incoming = False
        self._end(transfer, "")
        self._set_state(order.destination, order.spec.uuid, _S.RUNNING)
        emit(order.source, base.SignalKind.LIFECYCLE, order.spec.uuid, "gone")
        self._announce_end(transfer)

    # ------------------------------------------------------------------ pieces

    @staticmethod
    def is_fatal(transfer: Transfer) -> bool:
        """Whether the source's hypervisor would die at the switch-over."""
        return transfer.order.source.would_lose(transfer.order.source.guests[transfer.order.spec.uuid])

    def crash_source(self, transfer: Transfer) -> None:
        """Lose the guest at the switch-over: its hypervisor's process dies at the source, and nothing has arrived."""
        source, spec = transfer.order.source, transfer.order.spec
        if spec.is_persistent:
            source.guests[spec.uuid].state = _S.SHUT_OFF
        else:
            del source.guests[spec.uuid]
        emit(source, base.SignalKind.LIFECYCLE, spec.uuid, "crashed")
        self._end(transfer, "operation failed: domain is not running")
        self._drop_incoming(transfer)
        self._announce_end(transfer)

    def _set_state(self, host: fleet.Host, instance_uuid: str, state: guest.GuestState) -> None:
        local = host.guests.get(instance_uuid)
        if local is not None and local.state is not state:
            local.state = state
            local.was_resumed_by_job = False
            if state is _S.RUNNING:
                local.has_inactive_images = False
            emit(host, base.SignalKind.LIFECYCLE, instance_uuid, state.value)

    def _resume_by_job(self, host: fleet.Host, instance_uuid: str) -> None:
        self._set_state(host, instance_uuid, _S.RUNNING)
        host.guests[instance_uuid].was_resumed_by_job = True

    def _drop_incoming(self, transfer: Transfer) -> None:
        destination, uuid = transfer.order.destination, transfer.order.spec.uuid
        local = destination.guests.get(uuid)
        if local is not None and local.is_incoming:
            del destination.guests[uuid]
            emit(destination, base.SignalKind.LIFECYCLE, uuid, "gone")

    def _release_links(self, transfer: Transfer) -> None:
        crossed = [link for link in transfer.links if transfer in link.flows]
        for link in crossed:
            del link.flows[transfer]
        self.reshare(crossed)

    def _end(self, transfer: Transfer, error: str) -> None:
        self._release_links(transfer)
        transfer.stage = Stage.ENDED
        transfer.error = error
        self._schedule(transfer)
        uuid = transfer.order.spec.uuid
        del self.active[uuid]
        self.ended[(transfer.order.source.name, uuid)] = transfer
        if len(self.ended) > _REMEMBERED:
            del self.ended[next(iter(self.ended))]

    def _announce_end(self, transfer: Transfer) -> None:
        emit(transfer.order.source, base.SignalKind.TRANSFER_ENDED, transfer.order.spec.uuid, transfer.error)
        self._tell(transfer, "ended")

    def _tell(self, transfer: Transfer, step: str) -> None:
        for observer in tuple(self.observers):
            observer(transfer, step)


_NEXT: dict[Stage, Callable[[Course, Transfer], None]] = {
    Stage.DISKS: Course._end_disks,
    Stage.MEMORY: Course._end_pass,
    Stage.SWITCH_OVER: Course._end_switch_over,
    Stage.ARRIVING: Course._arrive,
    Stage.POST_COPY: Course._end_post_copy,
    Stage.CLOSING: Course._close,
}
