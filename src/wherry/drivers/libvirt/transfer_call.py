# SPDX-License-Identifier: Apache-2.0
"""The migrate call: its flags and parameters, made from plan and options. Pure: calls nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import libvirt

from wherry.drivers import base
from wherry.drivers.libvirt import check_source, domain_xml
from wherry.model import guest, migration

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

#: What libvirt takes for "no limit": the largest number of MiB/s whose bytes fit.
UNLIMITED_MIB_PER_S = (2**63 - 1) >> 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Everything that the migrate call is given."""

    instance_uuid: str
    #: The destination's libvirtd, as the source's reaches it.
    connection_uri: str
    flags: int
    parameters: dict[str, Any]
    downtime_ms: int

    @property
    def is_resuming(self) -> bool:
        """Whether it connects a broken post-copy again."""
        return bool(self.flags & libvirt.VIR_MIGRATE_POSTCOPY_RESUME)

    @property
    def permits_post_copy(self) -> bool:
        """Whether the job may switch to post-copy."""
        return bool(self.flags & libvirt.VIR_MIGRATE_POSTCOPY)


def make(
    moving: guest.Guest,
    facts: migration.DestinationFacts,
    plan: migration.StoragePlan,
    options: base.TransferOptions,
    section: libvirt_config.LibvirtSection,
) -> Call:
    """Choose flags and parameters, by Nova's rules.

    ABORT_ON_ERROR is left out, as Nova does: it would give up a migration over an I/O error that the guest itself is told of.
    """
    # A paused guest has nothing to gain from post-copy, and would be sent page by page without anyone asking for them.
    is_post_copy = options.permit_post_copy and moving.state is not guest.GuestState.PAUSED and not section.live_migration_tunnelled
    flags = _flags(moving, plan, section) | (libvirt.VIR_MIGRATE_POSTCOPY if is_post_copy else 0)
    if section.live_migration_permit_auto_converge and not is_post_copy:
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
    return Call(
        instance_uuid=moving.uuid,
        connection_uri=facts.connection_uri,
        flags=flags,
        parameters=_parameters(facts, plan, options, section, is_post_copy=is_post_copy),
        downtime_ms=options.downtime_ms,
    )


def resuming(call: Call) -> Call:
    """Give the call that connects its broken post-copy again: the same addresses and flags, as libvirt wants it."""
    return dataclasses.replace(call, flags=call.flags | libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_POSTCOPY_RESUME)


def _flags(moving: guest.Guest, plan: migration.StoragePlan, section: libvirt_config.LibvirtSection) -> int:
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
    if moving.is_persistent:
        # A transient guest stays transient: nobody asked for a definition that outlives it.
        flags |= libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    if plan.is_block_migration:
        flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
    if check_source.is_proven_coherent(plan):
        flags |= libvirt.VIR_MIGRATE_UNSAFE
    if section.live_migration_tunnelled:
        flags |= libvirt.VIR_MIGRATE_TUNNELLED
    if section.live_migration_with_native_tls:
        flags |= libvirt.VIR_MIGRATE_TLS
    if section.live_migration_parallel_connections > 1:
        flags |= libvirt.VIR_MIGRATE_PARALLEL
    return int(flags)


def _parameters(
    facts: migration.DestinationFacts,
    plan: migration.StoragePlan,
    options: base.TransferOptions,
    section: libvirt_config.LibvirtSection,
    *,
    is_post_copy: bool,
) -> dict[str, Any]:
    # Given always: without it libvirt uses a limit that an earlier migration of this guest was tuned to.
    parameters: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: options.bandwidth_mib_per_s or UNLIMITED_MIB_PER_S}
    if facts.transfer_uri:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = facts.transfer_uri
    if plan.is_block_migration:
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [disk.name for disk in plan.copied]
    if section.live_migration_parallel_connections > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = section.live_migration_parallel_connections
    if is_post_copy and section.live_migration_postcopy_bandwidth:
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = section.live_migration_postcopy_bandwidth
    return parameters


def perform(connection: libvirt.virConnect, call: Call) -> None:
    """Migrate; returns when it is over. Whatever it raises is no outcome: only both hypervisors' domains tell."""
    domain = connection.lookupByUUIDString(call.instance_uuid)
    domain.migrateToURI3(call.connection_uri, {**call.parameters, **_definitions(domain, call)}, call.flags)


def _definitions(domain: libvirt.virDomain, call: Call) -> dict[str, str]:
    """Give definitions for the destination where the guest's own names images that are not copied as such."""
    copied = call.parameters.get(libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS, [])
    if not copied:
        return {}
    parameters = {}
    flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
    live = domain_xml.without_images_below(domain.XMLDesc(flags), copied)
    if live is not None:
        parameters[libvirt.VIR_MIGRATE_PARAM_DEST_XML] = live
    if call.flags & libvirt.VIR_MIGRATE_PERSIST_DEST:
        lasting = domain_xml.without_images_below(domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_INACTIVE), copied)
        if lasting is not None:
            parameters[libvirt.VIR_MIGRATE_PARAM_PERSIST_XML] = lasting
    return parameters


def set_downtime(connection: libvirt.virConnect, call: Call) -> bool:
    """Set the first downtime before the job exists; False when this libvirt wants a job for it (9.0 does not)."""
    try:
        connection.lookupByUUIDString(call.instance_uuid).migrateSetMaxDowntime(call.downtime_ms, 0)
    except libvirt.libvirtError as problem:
        if problem.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return False
        raise
    return True
