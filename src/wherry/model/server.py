# SPDX-License-Identifier: Apache-2.0
"""Servers: the record that the Compute API shows, and the states it may be in.

Follows the guest; never says more than an agent reported or an operation decided.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping

from wherry.model import build
from wherry.model import flavor as flavors
from wherry.model.guest import Disk, GuestState


class VmState(enum.StrEnum):
    """Nova's vm_state: what the server is, between tasks."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    BUILDING = "building"
    RESIZED = "resized"
    ERROR = "error"
    DELETED = "deleted"


class TaskState(enum.StrEnum):
    """Nova's task_state: what is being done to the server."""

    MIGRATING = "migrating"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    RESIZE_PREP = "resize_prep"
    RESIZE_MIGRATING = "resize_migrating"
    RESIZE_MIGRATED = "resize_migrated"
    RESIZE_FINISH = "resize_finish"
    RESIZE_REVERTING = "resize_reverting"
    SCHEDULING = "scheduling"
    SPAWNING = "spawning"
    DELETING = "deleting"


class PowerState(enum.IntEnum):
    """Nova's numbers for what the hypervisor said last."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


#: `reason` of a server that was deleted because somebody asked for it; one whose guest is merely gone has none, and may come back.
DELETED_ON_REQUEST = "deleted_on_request"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Birth:
    """What the request that made a server said, as far as nothing else keeps it; a guest that was found has none."""

    #: Name and properties of its image, as they were then.
    image_name: str = ""
    image_properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Number of the server among those that the request made.
    launch_index: int = 0
    #: Availability zone that was asked for; None for none.
    zone: str | None = None
    hints: Mapping[str, object] = dataclasses.field(default_factory=dict)
    disk_config: str = "MANUAL"
    access_ip_v4: str = ""
    access_ip_v6: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a server is in error, as the API shows it."""

    message: str
    created_at: datetime.datetime
    #: As an HTTP status, which is how Nova tells it.
    code: int = 500
    #: More, for administrators.
    details: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One server. `generation` guards every write."""

    #: Internal id, only for paging order.
    id: int
    uuid: str
    name: str
    project_id: str
    user_id: str
    #: Name of the host that runs it; None while nobody does.
    host: str | None
    #: The hypervisor's host name.
    node: str | None
    vm_state: VmState
    task_state: TaskState | None = None
    power_state: PowerState = PowerState.NOSTATE
    memory_mib: int
    vcpus: int
    root_gib: int = 0
    #: Copy of the flavor that it was made from; None for a guest that was found.
    flavor: flavors.Flavor | None = None
    #: Share of the memory sent in a migration under way, 0 to 100.
    progress: int = 0
    #: Who locked it: "admin", "owner" or None.
    locked_by: str | None = None
    locked_reason: str | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    #: Slug of what is wrong with it: "two_hosts", … ; None when nothing is.
    reason: str | None = None
    description: str | None = None
    #: The guest's host name; None = the server's name.
    hostname: str | None = None
    #: Id of the image that it was made from; None for a guest that was found.
    image_ref: str | None = None
    tags: tuple[str, ...] = ()
    #: Nova's id of the request that made it; None for a guest that was found.
    reservation_id: str | None = None
    #: None for a guest that was found.
    birth: Birth | None = None
    fault: Fault | None = None
    created_at: datetime.datetime
    updated_at: datetime.datetime | None = None
    launched_at: datetime.datetime | None = None
    deleted_at: datetime.datetime | None = None
    generation: int = 0

    @property
    def instance_name(self) -> str:
        """Give the guest's name on its hypervisor."""
        return self.name if self.birth is None else build.instance_name(self.id)

    @property
    def pinned_zone(self) -> str | None:
        """Give the availability zone that it may not leave; None for any."""
        return self.birth.zone if self.birth is not None else None

    @property
    def current_flavor(self) -> flavors.Flavor:
        """Give its flavor: the copy, or for a guest that was found the one that its size tells."""
        return self.flavor or flavors.of_size(vcpus=self.vcpus, memory_mib=self.memory_mib, root_gib=self.root_gib)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ServerChange:
    """What a transition writes on the server; None leaves a field as it is.

    The flags exist because None already means "leave".
    """

    host: str | None = None
    node: str | None = None
    vm_state: VmState | None = None
    power_state: PowerState | None = None
    task_state: TaskState | None = None
    clear_task: bool = False
    progress: int | None = None
    reason: str | None = None
    #: The flavor that it has now; its sizes follow.
    flavor: flavors.Flavor | None = None
    memory_mib: int | None = None
    vcpus: int | None = None
    root_gib: int | None = None
    disks: tuple[Disk, ...] | None = None
    fault: Fault | None = None
    clear_fault: bool = False
    #: That no host has it any more.
    clear_host: bool = False
    #: That it was launched now, and that it was deleted now.
    is_launched: bool = False
    is_deleted: bool = False


#: vm_state and power_state that a guest's state means, for a server outside any task.
STATES_OF_GUEST: dict[GuestState, tuple[VmState, PowerState]] = {
    GuestState.RUNNING: (VmState.ACTIVE, PowerState.RUNNING),
    GuestState.POST_COPY: (VmState.ACTIVE, PowerState.RUNNING),
    GuestState.POST_COPY_FAILED: (VmState.ACTIVE, PowerState.PAUSED),
    GuestState.PAUSED: (VmState.PAUSED, PowerState.PAUSED),
    GuestState.PAUSED_FOR_SWITCH_OVER: (VmState.ACTIVE, PowerState.PAUSED),
    GuestState.SHUT_OFF: (VmState.STOPPED, PowerState.SHUTDOWN),
}
