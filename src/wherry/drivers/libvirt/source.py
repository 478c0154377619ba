# SPDX-License-Identifier: Apache-2.0
"""The removal of a stale domain at the source of a migration. Touches no disk; says which of them are left behind."""

from __future__ import annotations

import libvirt

from wherry.drivers.libvirt import destination, guest_xml, observe
from wherry.model import guest, migration
from wherry.telemetry import logs

_log = logs.get_logger(__name__)
_STALE = frozenset({guest.GuestState.PAUSED, guest.GuestState.PAUSED_FOR_SWITCH_OVER})


def left_behind(plan: migration.Plan) -> frozenset[str]:
    """Give the files that were made for the guest and are nobody's at the source once it has gone: none where storage is shared."""
    if plan.guest is None or plan.storage is None or not plan.storage.copied:
        return frozenset()
    made = frozenset(guest_xml.made_files(plan.guest.definition))
    return made if any(disk.source in made for disk in plan.storage.copied) else frozenset()


def remove_stale(handle: libvirt.virConnect, instance_uuid: str) -> None:
    """Remove the domain of a guest that runs at the destination: paused and without a job, or shut off."""
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        return
    state, current, detail = observe.read(domain)
    if state in _STALE and not current.name:
        is_persistent = bool(domain.isPersistent())
        domain.destroy()
        if not is_persistent:
            return
    elif state is not guest.GuestState.SHUT_OFF:
        _log.warning(
            "a domain that is active here is left alone", instance_uuid=instance_uuid, state=state.value, detail=detail, job=current.name
        )
        return
    domain.undefineFlags(destination.UNDEFINE_FLAGS)
