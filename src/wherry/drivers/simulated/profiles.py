# SPDX-License-Identifier: Apache-2.0
"""What the simulated hypervisors pretend to be: their names, and the abilities that their originals really have.

Holds facts only; the driver asks these flags wherever an ability is used.
"""

from __future__ import annotations

import dataclasses

from wherry.model import capabilities


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One kind of hypervisor."""

    #: Name in scenarios.
    name: str
    #: As os-hypervisors shows it.
    hypervisor_type: str
    #: What guests may ask for.
    supported_types: tuple[str, ...]
    capabilities: capabilities.DriverCapabilities
    #: First version that survives sending a guest which arrived paused and has not run since; None = each does.
    first_to_send_on_paused: int | None = None


#: Everything that the libvirt driver can do. A broken post-copy cannot be resumed: no method of a driver does that yet.
LIBVIRT = Profile(
    name="libvirt",
    hypervisor_type="QEMU",
    supported_types=("kvm", "qemu"),
    capabilities=capabilities.DriverCapabilities(
        live_migration=True,
        abort=True,
        force_complete_by_post_copy=True,
        post_copy_recovery=True,
        force_complete_by_pause=True,
        adoption=True,
        storage_copy=True,
        bandwidth_change=True,
        downtime_change=True,
        paused_guests=True,
        per_migration_deadline=True,
        progress=True,
        pause=True,
        power=True,
        suspend=True,
        cold_migration=True,
        build=True,
    ),
    first_to_send_on_paused=10_000_000,
)

# The others live-migrate and can neither abort nor force-complete; two cannot pause (Nova's support matrix; the last three from its
# release 21).
#: Moves a guest by one synchronous relocation within a vCenter, to a datastore that it names; nothing watches it.
VMWARE = Profile(
    name="vmware",
    hypervisor_type="VMware vCenter Server",
    supported_types=("vmware",),
    capabilities=capabilities.DriverCapabilities(live_migration=True, storage_copy=True, power=True, cold_migration=True),
)
#: Moves within a pool, or with its disks by storage XenMotion.
XENAPI = Profile(
    name="xenapi",
    hypervisor_type="XenServer",
    supported_types=("xen",),
    capabilities=capabilities.DriverCapabilities(live_migration=True, storage_copy=True, pause=True, power=True, cold_migration=True),
)
#: Moves with or without shared storage.
HYPERV = Profile(
    name="hyperv",
    hypervisor_type="hyperv",
    supported_types=("hyperv",),
    capabilities=capabilities.DriverCapabilities(live_migration=True, storage_copy=True, pause=True, power=True, cold_migration=True),
)
#: Moves on shared storage only.
POWERVM = Profile(
    name="powervm",
    hypervisor_type="phyp",
    supported_types=("phyp",),
    capabilities=capabilities.DriverCapabilities(live_migration=True, power=True, cold_migration=True),
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (LIBVIRT, VMWARE, XENAPI, HYPERV, POWERVM)}
