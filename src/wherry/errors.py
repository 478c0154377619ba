# SPDX-License-Identifier: Apache-2.0
"""The one exception tree, with slugs that are stable and never reused.

Knows no HTTP, no SQL and no libvirt: those live in `api/faults.py`, `db/` and `drivers/libvirt/errors.py`.

To add an error: subclass the class that names its category, give it a new slug, a template whose `{fields}` are the keyword arguments,
and a remedy where the reader can do something. `api/faults.py` maps categories, so most errors need no line there.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar

#: What a field of an error may hold: it crosses the bus as JSON.
Field = str | int | float | bool | None | list[str]

_registry: dict[str, type[Error]] = {}


class Category(enum.StrEnum):
    """What kind of trouble it is; the API chooses the HTTP status from it."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    UNAVAILABLE = "unavailable"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class Error(Exception):
    """Root of every error that Wherry raises on purpose."""

    #: Stable name, shown to users and clients; never reused for another meaning.
    slug: ClassVar[str] = "error"
    category: ClassVar[Category] = Category.INTERNAL
    #: Message with `{field}` places, each filled from the keyword arguments.
    template: ClassVar[str] = "Something failed: {detail}"
    #: What the reader can do or send instead; may hold the same places.
    remedy_template: ClassVar[str] = ""
    #: Whether the same request may succeed later without anybody changing anything.
    retryable: ClassVar[bool] = False
    #: Traceback text of the process where it happened, for errors that nobody expected; never crosses the API.
    remote_traceback: str = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.slug in _registry:
            raise TypeError(f"the slug {cls.slug!r} of {cls.__name__} belongs to {_registry[cls.slug].__name__}")
        _registry[cls.slug] = cls

    def __init__(self, **fields: Field) -> None:
        self.fields: dict[str, Field] = fields
        super().__init__(self.template.format_map(_Quoted(fields)))

    @property
    def message(self) -> str:
        return str(self)

    @property
    def remedy(self) -> str:
        return self.remedy_template.format_map(_Quoted(self.fields))

    def to_wire(self) -> dict[str, Any]:
        """Give slug and fields, which is all that crosses the bus."""
        return {"slug": self.slug, "fields": self.fields}


class _Quoted(dict[str, Any]):
    """Fields for a template; a missing one shows as its name instead of hiding the first error behind a KeyError."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__({k: ", ".join(v) if isinstance(v, list) else v for k, v in fields.items()})

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def from_wire(wire: Mapping[str, Any]) -> Error:
    """Rebuild an error from its slug and fields; an unknown slug (a newer peer) becomes RemoteFailure."""
    cls = _registry.get(str(wire.get("slug", "")))
    fields = wire.get("fields") or {}
    if cls is None:
        return RemoteFailure(detail=f"{wire.get('slug')}: {fields}")
    return cls(**fields)


def known_slugs() -> dict[str, type[Error]]:
    """Give every slug with its class, for the totality tests and the reference page."""
    return dict(_registry)


# ------------------------------------------------------------------ categories


class NotFound(Error):
    slug = "not_found"
    category = Category.NOT_FOUND
    template = "{what} {name} could not be found."


class Conflict(Error):
    slug = "conflict"
    category = Category.CONFLICT


class Invalid(Error):
    slug = "invalid"
    category = Category.INVALID


class Forbidden(Error):
    slug = "forbidden"
    category = Category.FORBIDDEN
    template = "Policy doesn't allow {rule} to be performed."


class Unauthenticated(Error):
    slug = "unauthenticated"
    category = Category.UNAUTHENTICATED
    template = "The request you have made requires authentication."


class Unavailable(Error):
    slug = "unavailable"
    category = Category.UNAVAILABLE
    retryable = True


class Unsupported(Error):
    slug = "unsupported"
    category = Category.UNSUPPORTED
    template = "{what} is not supported by the {driver} driver."


class Timeout(Error):
    slug = "timeout"
    category = Category.TIMEOUT
    template = "{what} did not answer within {seconds} s."
    retryable = True


class Internal(Error):
    slug = "internal"
    category = Category.INTERNAL


# ------------------------------------------------------- start-up and the bus


class ConfigInvalid(Invalid):
    slug = "config_invalid"
    template = "{where}: {problem}"
    remedy_template = "{instead}"


class RemoteFailure(Internal):
    slug = "remote_failure"
    template = "The other process failed: {detail}"


class HostUnreachable(Unavailable):
    """No agent answers for this host: says nothing about the guests on it."""

    slug = "host_unreachable"
    template = "No agent answers for host {host}."
    remedy_template = "Start the agent of {host}, or see its log if it runs."


class ConductorUnreachable(Unavailable):
    slug = "conductor_unreachable"
    template = "No conductor answers."
    remedy_template = "Start a conductor, or see its log if one runs."


class BusUnavailable(Unavailable):
    slug = "bus_unavailable"
    template = "The message bus cannot be used: {detail}"


class RpcTimeout(Timeout):
    slug = "rpc_timeout"
    template = "{what} at {host} did not answer within {seconds} s."


class MessageInvalid(Invalid):
    slug = "message_invalid"
    template = "The message {message_type} cannot be read: {problem}"


class MessageTooLarge(Invalid):
    slug = "message_too_large"
    template = "The message {message_type} has {size} bytes; {limit} are allowed."
    remedy_template = "Raise [bus] max_message_bytes and the limit of the bus itself."


class TooManyMessages(Unavailable):
    """A process works on as many messages as it may; this one was not begun."""

    slug = "too_many_messages"
    template = "{receiver} is working on {limit} messages already, which is its limit; {message_type} was not begun."
    remedy_template = "Try again; if it stays so, start another process or raise [bus] max_concurrent_messages."


class StaleEpoch(Conflict):
    """A command of an earlier owner, or for a migration that has ended here."""

    slug = "stale_epoch"
    template = "Operation {operation_id}: epoch {epoch} is not accepted here, {problem}."


class StaleWrite(Conflict):
    """Another writer advanced the row first; read it again."""

    slug = "stale_write"
    template = "{what} {name} was changed by another writer."
    retryable = True


class LeaseLost(Conflict):
    slug = "lease_lost"
    template = "Conductor {conductor} no longer holds its lease and has stopped commanding."


class DatabaseUnavailable(Unavailable):
    slug = "database_unavailable"
    template = "The database does not answer: {detail}"


class IllegalTransition(Internal):
    """The table in model/states.py has no such row; nothing was changed."""

    slug = "illegal_transition"
    template = "A migration in status {status} cannot take the event {event}."


class PlanIncomplete(Internal):
    """A step was reached without what the step before it finds out: a fault of Wherry's own."""

    slug = "plan_incomplete"
    template = "Operation {operation_id} has reached a step that needs its {what}, which is not known."


class SenderRefused(Forbidden):
    """An agent spoke of another host than its own."""

    slug = "sender_refused"
    template = "A message of {sender} speaks for {named}."


class HostRefused(Conflict):
    """An agent may not register: the name or the hypervisor belongs to another."""

    slug = "host_refused"
    template = "Host {host} is refused: {problem}"
    remedy_template = "{instead}"


class JournalLocked(Conflict):
    """A second agent with one journal: both would act on the same guests."""

    slug = "journal_locked"
    template = "The journal {path} is in use by another agent ({holder})."
    remedy_template = "Stop that agent, or give this one another [agent] journal_path."


# --------------------------------------------------- what the API says at once


class ServerNotFound(NotFound):
    slug = "server_not_found"
    template = "Instance {uuid} could not be found."


class MigrationNotFound(NotFound):
    slug = "migration_not_found"
    template = "Migration {migration_id} not found for instance {uuid}"


class MigrationNotInProgress(NotFound):
    slug = "migration_not_in_progress"
    template = "In-progress live migration {migration_id} is not found for server {uuid}."


class ActionNotFound(NotFound):
    slug = "action_not_found"
    template = "Action {request_id} not found"


class HostNotFound(NotFound):
    slug = "host_not_found"
    template = "Compute host {host} could not be found."


class InstanceInvalidState(Conflict):
    slug = "instance_invalid_state"
    template = "Cannot '{method}' instance {uuid} while it is in {attribute} {state}"


class InstanceBusy(Conflict):
    """Nova's InstanceInvalidState(task_state), which here names what holds the server."""

    slug = "instance_busy"
    template = (
        "Cannot '{method}' instance {uuid} while it is in task_state {state}: migration {migration_id} of request {request_id} is {status}."
    )
    remedy_template = "Follow that migration, or abort it."
    retryable = True


class InstanceLocked(Conflict):
    slug = "instance_locked"
    template = "Instance {uuid} is locked"


class MarkerNotFound(Invalid):
    slug = "marker_not_found"
    template = "Marker {marker} could not be found."
    remedy_template = "Send as marker the id of the last item of the page before, or no marker for the first page."


class SortKeyInvalid(Invalid):
    slug = "sort_key_invalid"
    template = "Lists cannot be sorted by {key}."
    remedy_template = "Sort by one of: {accepted}."


class NamePatternInvalid(Invalid):
    slug = "name_pattern_invalid"
    template = "The name {pattern} is no regular expression: {problem}"
    remedy_template = "Send a part of the name, with a backslash before characters that are not to be read as a pattern."


class InvalidMigrationState(Invalid):
    slug = "invalid_migration_state"
    template = "Migration {migration_id} state of instance {uuid} is {state}. Cannot {method} while the migration is in this state."


# ------------------------------------------------------------------- checks


class CheckFailed(Invalid):
    """A check said no before anything was touched.

    Skips the destination, or ends the migration in error when it concerns the source or no destination is left.
    """

    slug = "check_failed"
    template = "{detail}"


class SourceCheckFailed(CheckFailed):
    """A check said no for a reason that no other destination would change."""

    slug = "source_check_failed"


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


class DestinationDisabled(CheckFailed):
    slug = "destination_disabled"
    template = "Compute service of {host} is disabled{why}."
    remedy_template = "Enable the service of {host}, or name another host."


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


class JobActive(SourceCheckFailed):
    slug = "job_active"
    template = "The guest is busy with another job of the hypervisor ({job})."
    remedy_template = "Wait for it, or cancel it on {host}."
    retryable = True


class SnapshotsPresent(SourceCheckFailed):
    slug = "snapshots_present"
    template = "The guest has {count} snapshots, which the hypervisor cannot move."
    remedy_template = "Delete the snapshots, or merge them, first."


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


# -------------------------------------------------- hypervisors and transfers


class HypervisorUnavailable(Unavailable):
    """The hypervisor does not answer; nothing is known about its guests."""

    slug = "hypervisor_unavailable"
    template = "The hypervisor of {host} does not answer: {detail}"
    remedy_template = "See whether the hypervisor's daemon runs on {host}."


class GuestNotFound(NotFound):
    slug = "guest_not_found"
    template = "Host {host} has no guest {uuid}."


class NoActiveTransfer(Conflict):
    slug = "no_active_transfer"
    template = "Guest {uuid} has no migration in progress on {host}."


class PostCopyUnderWay(Conflict):
    """An abort came after the switch to post-copy: the source's memory is stale."""

    slug = "post_copy_under_way"
    template = "Guest {uuid} runs at its destination already; its migration can no longer be aborted."


class TransferRefused(Conflict):
    """The hypervisor refused to start the transfer; the guest runs on at the source."""

    slug = "transfer_refused"
    template = "The hypervisor refused to start the transfer of {uuid}: {detail}"


class PreparationFailed(Internal):
    slug = "preparation_failed"
    template = "Host {host} could not prepare for {uuid}: {detail}"


class HypervisorFailure(Internal):
    """The hypervisor failed at something it was asked to do."""

    slug = "hypervisor_failure"
    template = "The hypervisor of {host} failed to {what}: {detail}"
