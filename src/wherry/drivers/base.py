# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor driver must do. One object serves one host; `wherry.testing.driver_contract` proves it.

Says nothing about how the processes talk or what the database holds. Every method is safe to call twice for one migration: a second call
finds the work done, or joins it. Every method raises HypervisorUnavailable when the hypervisor does not answer within its time-out, and
no call may keep another guest's or another host's calls waiting.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from wherry import clock as wherry_clock
from wherry.model import build, guest, host, migration, progress

#: Gives the file with an image's bytes, on the machine of the driver's process, until the end of the block. May take long.
FetchImage = Callable[[], contextlib.AbstractAsyncContextManager[str]]


class SignalKind(enum.StrEnum):
    """Why the agent should look at a guest now. Signals are hints: they may be lost, doubled and late."""

    #: It appeared, started, stopped, was paused, resumed, crashed or went away.
    LIFECYCLE = "lifecycle"
    #: A pass over the memory ended.
    ITERATION = "iteration"
    #: The transfer of it has no job any more, whatever became of it.
    TRANSFER_ENDED = "transfer_ended"
    #: The hypervisor's connection was lost, or is back; `instance_uuid` is empty.
    CONNECTION = "connection"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """One hint, about one guest or about the connection."""

    kind: SignalKind
    instance_uuid: str = ""
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a migration's methods are told about it, and where they write down what they create."""

    operation_id: str
    instance_uuid: str
    #: To be awaited before a file or volume is created: it is on disk when this returns. Undo deletes only what was named here.
    record_created: Callable[[str], Awaitable[None]]
    #: What was named earlier, also by a process that died since.
    created: frozenset[str] = frozenset()
    #: Whether it is known that the guest's last arrival at this host was by a migration of ours and left it paused.
    has_arrived_paused: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TransferOptions:
    """How to send, resolved from configuration and request."""

    #: Milliseconds that the guest may be paused at switch-over, to begin with.
    downtime_ms: int
    #: MiB a second; 0 = no limit of ours.
    bandwidth_mib_per_s: int = 0
    #: Whether the transfer must be able to switch to post-copy.
    permit_post_copy: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """A transfer as its hypervisor shows it now."""

    #: Whether a job is under way; one whose post-copy is broken is not. An ended one says nothing about its outcome.
    is_active: bool
    is_post_copy: bool = False
    progress: progress.Progress | None = None
    #: Text of the error with which the call that started it ended, where this process made it; empty for none.
    call_error: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Departure:
    """What a guest's host says of its leaving, or of its becoming another size."""

    storage: migration.StoragePlan
    #: Whether the host starts the guest by itself when it starts.
    has_autostart: bool = False


class Hypervisor(Protocol):
    """What every driver does, whichever role its host plays. Made by the registry's factory; open() comes first."""

    async def open(self) -> None:
        """Connect. Idempotent; later losses of the connection are mended by the driver itself."""

    async def close(self) -> None:
        """Let go. Transfers under way go on. Never waits for a hypervisor that does not answer."""

    async def describe_host(self) -> host.HostDescription:
        """Describe hypervisor and host, capabilities included."""

    async def describe_guests(self, uuids: Collection[str] | None = None) -> list[guest.Guest]:
        """Describe these guests, or all; one that is not here is left out."""

    async def observe_guest(self, instance_uuid: str) -> guest.Observation:
        """Give this side's cell of the truth table. Absent only when the hypervisor itself says so; never UNREACHABLE.

        A driver that sees that its hypervisor let a guest run again after a migration that had paused it says so: only thereby can an agent
        that was away know that the destination may be running it, too.
        """

    async def measure_guest(self, instance_uuid: str) -> guest.Usage:
        """Give what the guest has used since it started; what is not counted is None, or left out.

        :raises GuestNotFound: when it is not here.
        """

    def subscribe(self, receiver: Callable[[Signal], None]) -> Callable[[], None]:
        """Have each signal given to `receiver` on the event loop, until the function given back is called."""


class MigrationDestination(Protocol):
    """What a driver does where a guest is to arrive."""

    async def check_destination(
        self, task: Task, wanted: guest.Guest, request: migration.LiveMigrationRequest, source: host.HostDescription
    ) -> migration.DestinationFacts:
        """Check that the guest could run here: name and uuid free, machine type, CPU, networks, media.

        Makes one storage probe per directory of the guest's disks and changes nothing else.
        :raises CheckFailed: when it could not; no probe is left.
        """

    async def release_check(self, task: Task, probes: tuple[migration.StorageProbe, ...]) -> None:
        """Remove the probes; one that is gone is fine."""

    async def prepare_destination(self, task: Task, plan: migration.Plan) -> None:
        """Make ready: create the copied disks that are missing, at their full size.

        :raises PreparationFailed: what was created stays named in the task for the undo.
        """

    async def finish_destination(self, task: Task, plan: migration.Plan) -> guest.Guest:
        """Make the arrived guest this host's own and describe it. A guest that was paused at the source stays paused."""

    async def roll_back_destination(self, task: Task, plan: migration.Plan) -> None:
        """Remove what `task.created` names, and a leftover that is not running. Never a running guest, never another file."""


class MigrationSource(Protocol):
    """What a driver does where a guest leaves from."""

    async def check_source(
        self,
        task: Task,
        leaving: guest.Guest,
        request: migration.LiveMigrationRequest,
        facts: migration.DestinationFacts,
    ) -> migration.StoragePlan:
        """Check that the guest may leave, that the destination is reachable from here, and classify each disk by the probes.

        :raises CheckFailed: when it may not; nothing was changed.
        """

    async def start_transfer(self, task: Task, plan: migration.Plan, options: TransferOptions) -> None:
        """Start sending and return as soon as the job is under way, or is known to have ended.

        A transfer of this guest that is under way is joined.
        :raises TransferRefused: when nothing was started; the guest runs on here.
        """

    async def read_transfer(self, instance_uuid: str) -> Transfer:
        """Read job and counters. Also for a transfer that another process started."""

    async def tune_transfer(self, instance_uuid: str, *, downtime_ms: int | None = None, bandwidth_mib_per_s: int | None = None) -> None:
        """Change limits of the transfer under way.

        :raises NoActiveTransfer: when there is none.
        :raises Unsupported: without `downtime_change` or `bandwidth_change`.
        """

    async def abort_transfer(self, instance_uuid: str) -> None:
        """Abort; returns when the hypervisor has taken it, the end comes as a signal.

        :raises NoActiveTransfer: when there is none.
        :raises Unsupported: without `abort`.
        """

    async def start_post_copy(self, instance_uuid: str) -> None:
        """Switch to post-copy.

        :raises NoActiveTransfer: when there is none.
        :raises Unsupported: without `force_complete_by_post_copy`, or when the job was not started for it.
        """

    async def resume_post_copy(self, task: Task, plan: migration.Plan, options: TransferOptions) -> None:
        """Connect a broken post-copy again, over the plan's addresses; return as soon as memory flows or it has ended.

        One that is being connected, or flows, is joined. Whatever fails, both sides are left as they are.
        :raises NoActiveTransfer: when nothing is broken here.
        :raises TransferRefused: when it could not be connected; it may be tried again.
        :raises Unsupported: without `post_copy_recovery`.
        """

    async def clean_up_source(self, task: Task, plan: migration.Plan) -> None:
        """Remove the stale domain of a guest that was read as running at the destination; keep its disks.

        Those that build_guest made and that were copied to the destination go: nobody else would ever delete them.

        A guest that is active here and not paused is left alone.
        """


class GuestPower(Protocol):
    """What a driver does to a guest where it is. A guest that is not here is GuestNotFound for each of these."""

    async def pause_guest(self, instance_uuid: str) -> None:
        """Pause the guest so that nothing dirties memory; a transfer of it goes on. A paused one is fine.

        :raises Unsupported: without `pause`; during a transfer without `force_complete_by_pause`.
        """

    async def resume_guest(self, instance_uuid: str) -> None:
        """Let a paused guest run on. A running one is fine."""

    async def start_guest(self, instance_uuid: str) -> None:
        """Start a guest that is defined here and off, with its memory where that was saved. An active one is fine, paused or not.

        :raises HypervisorFailure: when it does not start.
        :raises Unsupported: without `power`.
        """

    async def shut_down_guest(self, instance_uuid: str) -> None:
        """Ask the guest to shut itself down; returns when it was asked, not when it is off. One that is off is fine.

        :raises GuestNotLasting: when nothing would be left of it.
        :raises Unsupported: without `power`.
        """

    async def power_off_guest(self, instance_uuid: str) -> None:
        """Take the power from the guest; its definition and disks stay, memory that was saved goes. One that is off is fine.

        :raises GuestNotLasting: when nothing would be left of it.
        :raises Unsupported: without `power`.
        """

    async def suspend_guest(self, instance_uuid: str) -> None:
        """Save the guest's memory to its host's disk and take its power. One that is off with its memory saved is fine.

        :raises GuestNotLasting: when nothing would be left of it.
        :raises HypervisorFailure: when it is off and nothing was saved.
        :raises Unsupported: without `suspend`.
        """


class GuestRelocation(Protocol):
    """What a driver does to move a guest that is off to another host, or to make it another size. Needs `cold_migration` and `power`.

    Where the plan's source and destination are one host, nothing is sent, and the definition is only replaced. Until `release_guest`
    or `discard_guest` both hosts have a definition and every disk; neither is started by anything here.
    """

    async def check_departure(self, task: Task, plan: migration.Plan) -> Departure:
        """Check that the guest may be shut down here and leave, and classify each disk by the probes of the plan's facts.

        :raises CheckFailed: when it may not, or could not become the new size; nothing was changed.
        """

    async def prepare_arrival(self, task: Task, plan: migration.Plan) -> None:
        """Make a file for each disk that will be sent, named first; one that this migration made earlier is fine.

        :raises PreparationFailed: what was created stays named in the task for the undo.
        """

    async def retire_guest(self, task: Task, plan: migration.Plan) -> guest.Guest:
        """Take the guest's power if it is on, see to it that this host does not start it by itself, and describe it as it is then."""

    async def send_disks(self, task: Task, plan: migration.Plan, report: Callable[[progress.Progress], None]) -> None:
        """Send what each disk holds into the file that the destination made for it; returns when all of it is there.

        Begins anew when it is called again; a cancelled one stops writing before it returns. The disks here are only read. What it
        needs meanwhile on this host is named first, and gone at the end.
        :raises TransferRefused: when it did not get there.
        """

    async def receive_guest(self, task: Task, plan: migration.Plan) -> guest.Guest:
        """Define the guest here at its new size, its first disk grown to that, and describe it. One that is here already is left running.

        :raises PreparationFailed: when it could not be.
        """

    async def restore_guest(self, task: Task, plan: migration.Plan) -> guest.Guest:
        """Have the guest at its source as it was before the move: defined, with its old size; a disk that grew in place stays grown.

        :raises HypervisorFailure: when its definition is gone and was not kept in the plan, or a disk is missing.
        """

    async def discard_guest(self, task: Task, plan: migration.Plan) -> None:
        """Remove the guest that this migration brought here, running or not, and what `task.created` names. Never another file."""

    async def release_guest(self, task: Task, plan: migration.Plan, owned: Collection[str]) -> tuple[str, ...]:
        """Remove the definition of a guest that is off here and went to the destination, and those of its sent disks that are `owned`.

        Gives the paths of the disks that are kept.
        :raises HypervisorFailure: when it is active here.
        """


class GuestBuilder(Protocol):
    """What a driver does to make a guest and to remove one. Without `build` each of these raises Unsupported."""

    async def build_guest(self, task: Task, order: build.GuestOrder, fetch: FetchImage) -> guest.Guest:
        """Make the guest with a disk that begins as the image, start it, and describe it. One that this task made before is fine.

        The guest's definition names what was made for it, and its project; from then on destroy_guest knows both from there.

        :param fetch: asked for the image where the hypervisor's host does not have it yet.
        :raises BuildFailed: when it could not; what was made stays named in the task, for destroy_guest.
        :raises ImageCorrupt: when the bytes are not those of the image's checksum.
        """

    async def destroy_guest(self, task: Task) -> None:
        """Remove the guest, whatever it does, its definition, and the files that were made for it; one that is gone is fine.

        Those are the files that `task.created` or the guest's definition name as made for it; every other disk of it stays.
        """

    async def read_console(self, instance_uuid: str, most_bytes: int) -> str:
        """Give the end of what the guest has written to its serial console; empty where that is not kept.

        :raises GuestNotFound: when it is not here.
        """


class HypervisorDriver(Hypervisor, MigrationDestination, MigrationSource, GuestPower, GuestRelocation, GuestBuilder, Protocol):
    """The whole of a driver: six roles of a few methods each, so that a third party can write one from these texts."""


def _no_limit() -> int:
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostSettings:
    """What a driver is told about the one host that it serves."""

    #: The host's name, as in os-services.
    name: str
    #: Where the hypervisor is reached from this process.
    connection_uri: str
    #: Address at which other hosts reach this host's hypervisor and send memory; empty = the hypervisor's own host name.
    inbound_address: str = ""
    #: Gives how many guests may be sent at a time, as configured now; 0 = no limit. Who asks for more was admitted elsewhere.
    max_transfers: Callable[[], int] = _no_limit


#: Entry points of the group `wherry.drivers` name such a function. Its `section` is the driver's own configuration section.
DriverFactory = Callable[[HostSettings, object, wherry_clock.Clock], HypervisorDriver]
