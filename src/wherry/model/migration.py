# SPDX-License-Identifier: Apache-2.0
"""Migrations: what was asked for, what was planned, and the record that the API shows."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Literal

from wherry.model.capabilities import NONE, DriverCapabilities
from wherry.model.deadline import Deadline, TimeoutAction
from wherry.model.flavor import Flavor
from wherry.model.guest import Disk, Guest, GuestState
from wherry.model.progress import Progress
from wherry.model.states import Event, Status


class MigrationType(enum.StrEnum):
    """Nova's kinds, as os-migrations shows them."""

    LIVE_MIGRATION = "live-migration"
    #: A cold migration.
    MIGRATION = "migration"
    RESIZE = "resize"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LiveMigrationRequest:
    """The whole request, stored with the operation so that a sweep can run what a lost message asked for."""

    #: Destination asked for; None = choose one.
    host: str | None = None
    #: Whether to bypass the scheduler's filters for the named host (2.30 to 2.67, and any named host up to 2.29).
    force: bool = False
    #: True, False, or None for "auto".
    block_migration: bool | None = None
    #: Up to 2.24 only: False checks for the disks' full size, True for what they take now; None skips the check.
    disk_over_commit: bool | None = None
    #: Absolute seconds from the start of the transfer, 0 = none; None = configured.
    timeout_seconds: int | None = None
    #: None = configured.
    on_timeout: TimeoutAction | None = None
    #: Whether a client waits for the checks (below 2.34).
    is_blocking: bool = False
    #: Microversion of the request, "2.34".
    microversion: str = "2.1"
    #: Tells the kinds of request apart where they are stored; what was stored before there were several has none.
    kind: Literal["live_migration"] = "live_migration"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a guest takes of its host: what a resize changes."""

    memory_mib: int
    vcpus: int
    #: Of its first disk.
    root_gib: int


def size_of(flavor: Flavor) -> Size:
    """Give what a guest of this flavor takes."""
    return Size(memory_mib=flavor.memory_mib, vcpus=flavor.vcpus, root_gib=flavor.root_gib)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ColdMigrationRequest:
    """A move of a guest that is off meanwhile, to another size where one is given: the whole request, stored with the operation."""

    #: Destination asked for; None = choose one.
    host: str | None = None
    #: The new flavor; None = a cold migration, which keeps the old one.
    flavor: Flavor | None = None
    #: Tells the kinds of request apart where they are stored.
    kind: Literal["cold_migration"] = "cold_migration"

    @property
    def is_resize(self) -> bool:
        """Whether the guest becomes another size."""
        return self.flavor is not None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRequest:
    """That the source gives up what it kept of a guest since its cold migration or resize."""

    #: Id of the migration, which is also that of the operation which moved the guest.
    migration_id: str
    kind: Literal["confirm_resize"] = "confirm_resize"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RevertRequest:
    """That a guest goes back to where it was before its cold migration or resize, as it was."""

    #: As in ConfirmRequest.
    migration_id: str
    kind: Literal["revert_resize"] = "revert_resize"


class Treatment(enum.StrEnum):
    """What happens to one disk in a transfer."""

    SHARED = "shared"
    COPIED = "copied"
    #: Nothing to do: an empty drive, or read-only media that the destination has.
    NONE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskPlan:
    """One disk and what happens to it."""

    disk: Disk
    treatment: Treatment


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoragePlan:
    """Outcome of the source's check: which disks travel, and what to warn of."""

    disks: tuple[DiskPlan, ...] = ()
    #: Sentences for the event: no lock that works across hosts, …
    warnings: tuple[str, ...] = ()

    @property
    def copied(self) -> tuple[Disk, ...]:
        """The disks that are sent along."""
        return tuple(plan.disk for plan in self.disks if plan.treatment is Treatment.COPIED)

    @property
    def is_block_migration(self) -> bool:
        """Whether any disk is sent along."""
        return bool(self.copied)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StorageProbe:
    """A volume that the destination made so that the source can look whether a directory is shared."""

    directory: str
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DestinationFacts:
    """Outcome of the destination's check: what the source needs to know of it."""

    host: str
    #: Where the source's hypervisor reaches the destination's; opaque but to the drivers.
    connection_uri: str = ""
    #: Where the destination's own agent reaches its hypervisor, which may be a way for others in the same process; opaque likewise.
    agent_uri: str = ""
    #: By which it is known whether some address leads to the destination's hypervisor.
    hypervisor_uuid: str = ""
    #: Where memory and disks are sent; opaque but to the drivers, empty = the hypervisor chooses.
    transfer_uri: str = ""
    probes: tuple[StorageProbe, ...] = ()
    #: Free bytes per directory of the guest's disks.
    free_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    #: Paths of the guest's disks at which the destination sees a file already: the shared ones, and those in the way of a copy.
    present_files: tuple[str, ...] = ()
    hypervisor_version: int = 0
    capabilities: DriverCapabilities = NONE
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RefusedHost:
    """A destination that was tried and said no."""

    host: str
    slug: str
    message: str
    #: The error's fields, so that it can be told again in full.
    fields: dict[str, str | int | float | bool | list[str] | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a migration is as it is, for machines and for people."""

    #: Slug of the error, or a word of the monitor: "deadline", "requested", "source_unreachable", …
    slug: str
    message: str
    remedy: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How the migration will end once the undo is done: decided before it, kept through a take-over."""

    event: Event
    reason: Reason
    #: What the source showed when it was decided; None where nothing was read.
    guest_state: GuestState | None = None
    #: Whether the source was ever told to send: if not, its guest was never touched, and its silence keeps nothing waiting.
    is_source_commanded: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the steps have found out so far and agents go by. It travels on the bus: a field added here has a default."""

    source: str
    destination: str | None = None
    guest: Guest | None = None
    facts: DestinationFacts | None = None
    storage: StoragePlan | None = None
    #: Of a cold migration or resize: the size before and after.
    old_size: Size | None = None
    new_size: Size | None = None
    #: Whether its guest ran when it began, and so runs again at its end.
    was_running: bool = False
    #: Whether the source started it together with the host; taken back while the source only keeps it.
    has_autostart: bool = False
    #: Whether the destination may have been told to take the guest in: from then on it may run there.
    is_destination_commanded: bool = False

    @property
    def is_same_host(self) -> bool:
        """Whether a resize stays where the guest is."""
        return self.source == self.destination


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DrivenPlan(Plan):
    """A plan with what only its conductor goes by; grows from step to step and is stored with each transition."""

    #: When the checks passed, for check_ttl_seconds.
    checked_at: datetime.datetime | None = None
    refused: tuple[RefusedHost, ...] = ()
    #: Set when an undo begins.
    ending: Ending | None = None
    #: When a guest that was asked to shut itself down is powered off; None before it was asked.
    power_off_at: datetime.datetime | None = None
    #: Of a resize, for the server's record: the flavor before and after.
    old_flavor: Flavor | None = None
    new_flavor: Flavor | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """The record that the API shows. Only a stored transition changes its status."""

    #: Integer id of the wire.
    id: int
    #: Also the id of the operation that drives it.
    uuid: str
    instance_uuid: str
    migration_type: MigrationType = MigrationType.LIVE_MIGRATION
    status: Status
    #: Host names; the destination is None until one is chosen.
    source_compute: str
    dest_compute: str | None = None
    #: Hypervisor host names.
    source_node: str | None = None
    dest_node: str | None = None
    #: Address of the destination's machine, of cold migrations and resizes only; empty where it told none.
    dest_host: str | None = None
    #: Numbers of the server's flavor before and after; None for a guest that was found, whose flavor has none.
    old_flavor_number: int | None = None
    new_flavor_number: int | None = None
    #: Who asked for it, which need not be the server's owner.
    user_id: str
    project_id: str
    #: None until the hypervisor reported some.
    progress: Progress | None = None
    reason: Reason | None = None
    deadline: Deadline | None = None
    deadline_at: datetime.datetime | None = None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None = None
    #: When the copy started, and when the migration reached a terminal status.
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
