# SPDX-License-Identifier: Apache-2.0
"""What is done to the guest at its source: pause, resume, and the removal of a stale domain.

Touches no disk.
"""

from __future__ import annotations

import libvirt

from wherry import errors
from wherry.drivers.libvirt import destination, observe
from wherry.drivers.libvirt import errors as libvirt_errors
from wherry.model import guest
from wherry.telemetry import logs

_log = logs.get_logger(__name__)
_STALE = frozenset({guest.GuestState.PAUSED, guest.GuestState.PAUSED_FOR_SWITCH_OVER})


def pause(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Suspend the guest. During its migration libvirt shows it as paused/migration, and resumes it by itself after an abort."""
    domain = _require(handle, host, instance_uuid)
    try:
        domain.suspend()
    except libvirt.libvirtError:
        if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            raise


def resume(handle: libvirt.virConnect, host: str, instance_uuid: str) -> None:
    """Let the guest run on. libvirt refuses while a migration is under way, after 30 s of waiting for its lock."""
    domain = _require(handle, host, instance_uuid)
    state, current, _ = observe.read(domain)
    if state is guest.GuestState.RUNNING:
        return
    if current.name:
        raise errors.HypervisorFailure(host=host, what="resume the guest", detail=f"the job {current.name} is under way")
    try:
        domain.resume()
    except libvirt.libvirtError as problem:
        if libvirt_errors.code(problem) not in libvirt_errors.INVALID_NOW or domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            raise


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


def _require(handle: libvirt.virConnect, host: str, instance_uuid: str) -> libvirt.virDomain:
    domain = observe.find(handle, instance_uuid)
    if domain is None:
        raise errors.GuestNotFound(host=host, uuid=instance_uuid)
    return domain
