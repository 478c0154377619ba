# SPDX-License-Identifier: Apache-2.0
"""What the checks say, before anything is touched."""

from __future__ import annotations

from wherry.errors.tree import Conflict, Invalid


class CheckFailed(Invalid):
    """A check said no before anything was touched.

    Skips the destination, or ends the migration in error when it concerns the source or no destination is left.
    """

    slug = "check_failed"
    template = "{detail}"


class SourceCheckFailed(CheckFailed):
    """A check said no for a reason that no other destination would change."""

    slug = "source_check_failed"


class DefinitionUnreadable(SourceCheckFailed):
    slug = "definition_unreadable"
    template = "The definition that came from libvirt or from another host is not read: {detail}."
    remedy_template = "Look at the host that it came from: no libvirt writes this."


class DestinationNotFound(CheckFailed):
    slug = "destination_not_found"
    template = "Compute host {host} could not be found."
    remedy_template = "Send the name of a host from os-services, or no host to let one be chosen."


class NoValidHost(CheckFailed):
    slug = "no_valid_host"
    template = "No valid host was found. {detail}"
    remedy_template = "Free or add a host that fits, or name a host to see why it does not."


class MaxRetriesExceeded(CheckFailed):
    slug = "max_retries_exceeded"
    template = "Tried {tried} destinations, which is the limit; the last said: {detail}"
    remedy_template = "Raise migrate_max_retries, or name a host."


class DestinationIsSource(CheckFailed):
    slug = "destination_is_source"
    template = "Unable to migrate instance {uuid} to current host {host}."
    remedy_template = "Name another host."


class SourceDown(SourceCheckFailed):
    slug = "source_down"
    template = "Compute service of {host} is unavailable at this time."
    remedy_template = "Bring back the agent of {host}: a guest can only be sent by its own host."


class DestinationDown(CheckFailed):
    slug = "destination_down"
    template = "Compute service of {host} is unavailable at this time."
    remedy_template = "Bring back the agent of {host}, or name another host."


class HostNotAskedFor(CheckFailed):
    slug = "host_not_asked_for"
    template = "Host {host} of zone {zone} is not where the server is asked to be."
    remedy_template = "Name another zone or host, or none."


class OutsideZone(CheckFailed):
    slug = "outside_zone"
    template = "Host {host} is in the zone {zone}, and instance {uuid} is pinned to {pinned}."
    remedy_template = "Name a host of {pinned}, or change pinned_availability_zone of the server (PUT /servers, 2.104)."


class DestinationDisabled(CheckFailed):
    slug = "destination_disabled"
    template = "Compute service of {host} is disabled{why}."
    remedy_template = "Enable the service of {host}, or name another host."


class ServerGroupForbids(CheckFailed):
    slug = "server_group_forbids"
    template = "Server group {group} ({policy}) forbids {host} for instance {uuid}: {why}."
    remedy_template = "Name another host, move the other servers of the group first, or take the server out of the group."


class InsufficientMemory(CheckFailed):
    slug = "insufficient_memory"
    template = "Unable to migrate {uuid} to {host}: Lack of memory(host:{available_mib} <= instance:{needed_mib})"
    remedy_template = "Free memory on {host}, raise ram_allocation_ratio, or name another host."


class InsufficientVcpus(CheckFailed):
    slug = "insufficient_vcpus"
    template = "Unable to migrate {uuid} to {host}: {available} vCPUs are free there, {needed} are needed."
    remedy_template = "Free vCPUs on {host}, raise cpu_allocation_ratio, or name another host."


class HypervisorTypeMismatch(CheckFailed):
    slug = "hypervisor_type_mismatch"
    template = "The guest's hypervisor is {source_type}; {host} runs {destination_type}."
    remedy_template = "Name a host that runs {source_type}."


class HypervisorTooOld(CheckFailed):
    slug = "hypervisor_too_old"
    template = "The hypervisor of {host} is version {destination_version}, older than the source's {source_version}."
    remedy_template = "Upgrade {host}, or name a host that runs at least {source_version}."


class CpuIncompatible(CheckFailed):
    slug = "cpu_incompatible"
    template = "The guest's CPU cannot run on {host}: {detail}"
    remedy_template = "Name a host with the same or a newer CPU, or give the guest a common CPU model."


class DomainPresent(CheckFailed):
    slug = "domain_present"
    template = "{host} already has a domain with the {attribute} {value}."
    remedy_template = "Look at that domain on {host}; remove it there if it is a leftover."


class MachineTypeUnsupported(CheckFailed):
    slug = "machine_type_unsupported"
    template = "{host} does not know the guest's machine type {machine_type}."
    remedy_template = "Install a QEMU on {host} that knows {machine_type}."


class NetworkMissing(CheckFailed):
    slug = "network_missing"
    template = "{host} has no {kind} named {name}, which an interface of the guest uses."
    remedy_template = "Create the {kind} {name} on {host}."


class MediaUnreadable(CheckFailed):
    slug = "media_unreadable"
    template = "{host} cannot read {path}, which the guest uses."
    remedy_template = "Make {path} available on {host}, or eject it from the guest."


class InsufficientSpace(CheckFailed):
    slug = "insufficient_space"
    template = "{host} has {available_bytes} bytes free in {path}; the copied disks need {needed_bytes}."
    remedy_template = "Free space in {path} on {host}, or name another host."


class DestinationDiskExists(CheckFailed):
    slug = "destination_disk_exists"
    template = "{host} already has a file {path}, which a copied disk of the guest needs."
    remedy_template = "Look at {path} on {host}; move it away if it is a leftover."


class MigrationAddressUnreachable(CheckFailed):
    slug = "migration_address_unreachable"
    template = "The source {source} cannot reach {address} of {host}: {detail}"
    remedy_template = "Check live_migration_inbound_addr of {host}, its libvirtd, and the network between the hosts."


class PassthroughDevice(SourceCheckFailed):
    slug = "passthrough_device"
    template = "The guest uses the host's device {device}, which cannot move."
    remedy_template = "Detach {device} from the guest first."


class MemoryEncrypted(SourceCheckFailed):
    slug = "memory_encrypted"
    template = "The guest's memory is encrypted by the processor ({kind}), so that no hypervisor can send it."
    remedy_template = "Shut the guest down and start it on the other host."


class HugePagesMissing(CheckFailed):
    slug = "huge_pages_missing"
    template = "{host} has {available_mib} MiB free in pages of {page_kib} KiB; the guest's memory needs {needed_mib} MiB in such pages."
    remedy_template = "Reserve pages of {page_kib} KiB on {host}, or name another host."


class JobActive(SourceCheckFailed):
    slug = "job_active"
    template = "The guest is busy with another job of the hypervisor ({job})."
    remedy_template = "Wait for it, or cancel it on {host}."
    retryable = True


class CannotMove(SourceCheckFailed):
    """A cold migration or resize that this guest does not allow."""

    slug = "cannot_move"
    template = "The guest {uuid} cannot be shut down and moved, or made another size: {why}."
    remedy_template = "{instead}"


class DiskShrinks(SourceCheckFailed):
    slug = "disk_shrinks"
    template = "Instance {uuid} has a root disk of {present_gib} GiB, which cannot become one of {wanted_gib} GiB."
    remedy_template = "Send a flavor whose disk is at least as large."


class SnapshotsPresent(SourceCheckFailed):
    slug = "snapshots_present"
    template = "The guest has {count} snapshots, which the hypervisor cannot move."
    remedy_template = "Delete the snapshots, or merge them, first."


class PausedSinceArrival(SourceCheckFailed):
    """QEMU before 10.0 would die at the end of the transfer, and the guest with it."""

    slug = "paused_since_arrival"
    template = "The guest arrived paused at {host} and has not run since: sent on, it would crash together with its hypervisor process."
    remedy_template = "Resume the guest first: then it can be migrated running, or paused again."


class UnsafeDiskCache(CheckFailed):
    slug = "unsafe_disk_cache"
    template = "Disk {disk} uses cache mode {cache} on storage that is not coherent between hosts."
    remedy_template = "Use cache mode none or directsync for {disk}, or storage that is coherent across hosts."


class StorageShared(CheckFailed):
    """Nova's InvalidLocalStorage: block migration asked for, but the disks are shared."""

    slug = "storage_shared"
    template = "{host} is not on local storage: Block migration can not be used with shared storage."
    remedy_template = 'Send block_migration false or "auto".'


class StorageNotShared(CheckFailed):
    """Nova's InvalidSharedStorage: no block migration asked for, but disks are not shared."""

    slug = "storage_not_shared"
    template = (
        "{host} is not on shared storage: Shared storage live-migration requires either shared storage or "
        "boot-from-volume with no local disks."
    )
    remedy_template = 'Send block_migration true or "auto".'


class CapabilityMissing(CheckFailed):
    slug = "capability_missing"
    template = "The {driver} driver of {host} cannot {ability}, which this request needs."
    remedy_template = "{instead}"


class GuestNotRunning(Conflict):
    """Nova's InstanceInvalidState(power_state): raised by the checks, a 409 to a blocking client."""

    slug = "guest_not_running"
    template = "Instance {uuid} in power_state {state}. Cannot live migrate while the instance is in this state."


class CheckTimeout(CheckFailed):
    slug = "check_timeout"
    template = "Timeout while checking if we can live migrate to host: {host}"
    remedy_template = "See whether the hypervisor of {host} answers, or name another host."


class CheckCrashed(CheckFailed):
    """A check ended in an unexpected error; the destination is skipped, the guest was not touched."""

    slug = "check_crashed"
    template = "The check of {host} failed unexpectedly: {detail}"
    remedy_template = "See the log of the agent of {host}."
