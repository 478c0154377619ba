# SPDX-License-Identifier: Apache-2.0
"""What must hold at every moment, looked at whenever time moves on and at every commit: not only once everything rests.

Looks only. What holds in the end is the judge's.
"""

from __future__ import annotations

import dataclasses
import posixpath

from wherry.drivers import simulated
from wherry.drivers.simulated import transfer as transfers
from wherry.model import build, deadline, guest, migration, operation, power, states
from wherry.testing.simulation import process
from wherry.testing.simulation import system as systems

_S = guest.GuestState
#: Seconds that the agents have, by the design, and a hair for rounding.
_GRACE_SECONDS = 1.0 + 0.05
#: Calls from an agent's first look to its deed, and what one takes where nothing is slow.
_CALLS = 5
_USUAL_CALL_SECONDS = 0.02
#: Seconds in which a source that is there has heard of an abort.
_DELIVERED_SECONDS = 40.0
_ALIVE = frozenset({_S.RUNNING, _S.PAUSED, _S.PAUSED_FOR_SWITCH_OVER, _S.POST_COPY, _S.POST_COPY_FAILED})
#: Requests on whose way a guest is powered off.
_STOPPING = (migration.ColdMigrationRequest, migration.ConfirmRequest, migration.RevertRequest, build.DeleteRequest)
_ACTS = frozenset({"abort_transfer", "start_post_copy", "pause_guest"})


@dataclasses.dataclass(kw_only=True, slots=True)
class _Watched:
    """One transfer, and what was seen of it."""

    transfer: transfers.Transfer
    began: float
    #: Since when both hosts run the guest; None while they do not.
    double_since: float | None = None
    is_double_told: bool = False
    #: When the agent last set about to end the transfer.
    acted_at: float | None = None
    #: When nothing was last sent: a switch to post-copy waits for that to be over.
    idle_at: float = 0.0
    is_told: bool = False


class Watch:
    """The continuous judge of one run."""

    def __init__(self, system: systems.System) -> None:
        self._system = system
        self.problems: list[str] = []
        #: By host: until when its hypervisor's calls are known to be hampered.
        self.hampered: dict[str, float] = {}
        #: Guests that somebody else, or a request, may stop.
        self.stoppable: dict[str, None] = {}
        #: Guests that are to be deleted, or whose making was taken back.
        self.removable: dict[str, None] = {}
        #: Guests that were seen to run on two hosts, however shortly.
        self.doubled: dict[str, None] = {}
        self._watched: dict[str, _Watched] = {}
        self._sent_live: dict[str, None] = {}
        # What an agent does takes some calls; those of a slow hypervisor are not the agent's delay.
        self._grace_seconds = _GRACE_SECONDS + _CALLS * max(0.0, system.world.call_seconds - _USUAL_CALL_SECONDS)
        self._requests: dict[str, operation.Request | operation.NewerRequest] = {}
        self._holding: dict[str, migration.Migration] = {}
        system.world.copying.observers.append(self._stepped)
        system.on_commit.append(self._committed)
        system.on_call.append(self._called)

    def look(self) -> None:
        """Look at everything that moves; called before time moves on."""
        now = self._system.clock.monotonic()
        for host in self._system.world.hosts.values():
            if host.daemon is not simulated.Daemon.UP:
                self.hampered[host.name] = max(self.hampered.get(host.name, 0.0), now)
        for uuid, one in list(self._watched.items()):
            self._look_at_double(one, now)
            if one.transfer.stage is transfers.Stage.ENDED or one.transfer.stage is transfers.Stage.BROKEN:
                if len(list(self._system.world.hosts_of(uuid))) < 2:
                    del self._watched[uuid]
            else:
                self._look_at_deadline(one, now)

    def order_of(self, uuid: str) -> transfers.Order | None:
        """Give what the guest's last transfer is to send, and where."""
        one = self._watched.get(uuid)
        return one.transfer.order if one is not None else None

    # ------------------------------------------------------- one host at a time

    def _look_at_double(self, one: _Watched, now: float) -> None:
        order = one.transfer.order
        sides = [host.guests.get(order.spec.uuid) for host in (order.source, order.destination)]
        if not all(local is not None and local.state is _S.RUNNING and not local.is_incoming for local in sides):
            one.double_since, one.is_double_told = None, False
            return
        self.doubled[order.spec.name] = None
        one.double_since = now if one.double_since is None else one.double_since
        since = self._watched_since(order.source.name, one.double_since)
        if since is not None and now - since > self._grace_seconds and not one.is_double_told:
            one.is_double_told = True
            self.tell(f"{order.spec.name} runs on {order.source.name} and {order.destination.name} for {now - one.double_since:.3f} s")

    # ---------------------------------------------------------------- deadlines

    def _look_at_deadline(self, one: _Watched, now: float) -> None:
        if one.transfer.rate <= 0:
            one.idle_at = now
        request = self._requests.get(one.transfer.order.operation_id)
        if not isinstance(request, migration.LiveMigrationRequest) or not request.timeout_seconds or one.is_told:
            return
        if one.acted_at is not None or one.transfer.stage not in (transfers.Stage.DISKS, transfers.Stage.MEMORY):
            return
        due = one.began + request.timeout_seconds
        if request.on_timeout is not deadline.TimeoutAction.ABORT:
            due = max(due, one.idle_at)
        since = self._watched_since(one.transfer.order.source.name, due)
        if since is not None and now - since > self._grace_seconds:
            one.is_told = True
            self.tell(f"the deadline of {one.transfer.order.spec.name} is over since {now - due:.3f} s, and nothing was done")

    def _watched_since(self, host: str, start: float) -> float | None:
        """Give since when, after a start, the host's agent has been able to do something; None while it is not."""
        part = self._system.agent_of(host)
        if part is None or part.watches_since is None:
            return None
        return max(start, part.watches_since, part.of.stalled_until, self.hampered.get(host, 0.0))

    # ------------------------------------------------------------------ intents

    def look_at_intents(self, asked: list[str]) -> None:
        """Look whether aborts that were asked for long ago have reached their source."""
        now = self._system.clock.monotonic()
        for one in self._watched.values():
            order = one.transfer.order
            if order.operation_id not in asked or one.transfer.stage not in (transfers.Stage.DISKS, transfers.Stage.MEMORY) or one.is_told:
                continue
            since = self._watched_since(order.source.name, one.began)
            if one.acted_at is None and since is not None and now - since > _DELIVERED_SECONDS:
                one.is_told = True
                self.tell(f"an abort of {order.spec.name} was asked for, and {order.source.name} has not heard of it")

    # ------------------------------------------------------------- what is done

    def _stepped(self, transfer: transfers.Transfer, step: str) -> None:
        uuid = transfer.order.spec.uuid
        if step == "started":
            self._sent_live[uuid] = None
            self._watched[uuid] = _Watched(transfer=transfer, began=self._system.clock.monotonic())
        self._system.trace.note(
            f"world: {transfer.order.spec.name} {step} {transfer.order.source.name} -> {transfer.order.destination.name}"
        )

    def _called(self, host: str, method: str, instance_uuid: str, is_done: bool) -> None:
        if not is_done:
            one = self._watched.get(instance_uuid)
            if method in _ACTS and one is not None and one.transfer.order.source.name == host:
                one.acted_at = self._system.clock.monotonic()
            return
        if method not in ("observe_guest", "read_transfer", "describe_guests", "describe_host"):
            self._system.trace.note(f"hypervisor: {host} {method}")
        if method == "start_guest" and instance_uuid not in self._watched:
            running = [one.name for one in self._system.world.hosts_of(instance_uuid) if one.guests[instance_uuid].state is _S.RUNNING]
            if len(running) > 1:
                self.tell(f"{instance_uuid} was started on {host} and runs on {running}")
        if method == "receive_guest" and instance_uuid not in self._sent_live:
            self._look_at_disks(host, instance_uuid)
        if method == "destroy_guest" and instance_uuid not in self.removable:
            self.tell(f"{host} removed {instance_uuid}, and nobody had asked for it")
        if method == "power_off_guest" and instance_uuid not in self.stoppable:
            self.tell(f"{host} powered {instance_uuid} off, and nobody had asked for it")
        if (
            method in ("clean_up_source", "roll_back_destination")
            and instance_uuid not in self.stoppable
            and not self._lives(instance_uuid)
        ):
            self.tell(f"{method} at {host} destroyed the last of {instance_uuid}")

    def _look_at_disks(self, host: str, instance_uuid: str) -> None:
        """Whether all that a cold migration sent has arrived. What a live one copies is not written down in the simulated files."""
        here = self._system.world.hosts[host]
        local = here.guests.get(instance_uuid)
        for disk in local.spec.disks if local is not None else ():
            store = here.store_of(disk.source)
            held = store.contents.get(posixpath.basename(disk.source)) if store is not None else None
            if held != f"{instance_uuid} {disk.name}":
                self.tell(f"{host} took {instance_uuid} in, and {disk.source} holds {held!r} there")

    def _lives(self, instance_uuid: str) -> bool:
        hosts = self._system.world.hosts_of(instance_uuid)
        return any(host.guests[instance_uuid].state in _ALIVE and not host.guests[instance_uuid].is_incoming for host in hosts)

    # -------------------------------------------------------------------- slots

    def _committed(self, of: process.Process, result: object) -> None:
        found = result if isinstance(result, tuple) else (result,)
        for one in found:
            if isinstance(one, operation.Operation):
                self._requests[one.id] = one.request
                if isinstance(one.request, _STOPPING) or (
                    isinstance(one.request, power.PowerRequest) and one.request.action is not power.PowerAction.PAUSE
                ):
                    self.stoppable[one.instance_uuid] = None
                if isinstance(one.request, build.DeleteRequest) or one.step is operation.StepName.TAKE_BACK:
                    self.removable[one.instance_uuid] = None
                self._system.trace.note(f"{of.name}: committed {one.id[:8]} {one.step.value} epoch {one.epoch}")
            elif isinstance(one, migration.Migration):
                self._count(one)

    def _count(self, record: migration.Migration) -> None:
        if record.status not in states.HOLDING_SLOTS:
            self._holding.pop(record.uuid, None)
            return
        is_new = record.uuid not in self._holding
        self._holding[record.uuid] = record
        if not is_new:
            return
        options = self._system.config.default
        held = list(self._holding.values())
        for what, count, limit in (
            (f"out of {record.source_compute}", _equal(held, "source_compute", record), options.max_concurrent_live_migrations),
            (f"into {record.dest_compute}", _equal(held, "dest_compute", record), options.max_concurrent_incoming_live_migrations),
            ("in the cluster", len(held), options.max_concurrent_live_migrations_cluster),
        ):
            if limit and count > limit:
                self.tell(f"{count} migrations {what} hold a slot, {limit} may")

    def tell(self, problem: str) -> None:
        """Note what does not hold."""
        self.problems.append(f"at {self._system.clock.monotonic():.3f} s: {problem}")
        self._system.trace.note(f"## {problem}")


def _equal(held: list[migration.Migration], field: str, record: migration.Migration) -> int:
    return sum(getattr(one, field) == getattr(record, field) for one in held)
