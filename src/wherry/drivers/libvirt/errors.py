# SPDX-License-Identifier: Apache-2.0
"""From libvirt's error codes to our errors; the only place that knows what the codes mean.

Never parses an error's text, which libvirt translates into the daemon's language.
"""

from __future__ import annotations

import errno

import libvirt

from wherry import errors

#: No domain, network, storage volume, … of that name.
ABSENT = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_INTERFACE,
        libvirt.VIR_ERR_NO_NODE_DEVICE,
    }
)
#: This libvirtd was built or installed without the driver that was asked.
NOT_INSTALLED = frozenset({libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_NO_CONNECT})
#: The domain is not in a state for this: not running, no job, job of another kind.
INVALID_NOW = frozenset({libvirt.VIR_ERR_OPERATION_INVALID})


def code(problem: libvirt.libvirtError) -> int:
    """Give the error's code, 0 when libvirt gave none."""
    return problem.get_error_code() or 0


def text(problem: libvirt.libvirtError) -> str:
    """Give libvirt's message on one line."""
    return " ".join((problem.get_error_message() or str(problem)).split())


def is_missing_file(problem: libvirt.libvirtError) -> bool:
    """Whether the daemon's own system call found no such file or directory."""
    # A system error carries errno in its first number.
    return code(problem) == libvirt.VIR_ERR_SYSTEM_ERROR and problem.get_int1() in (errno.ENOENT, errno.ENOTDIR)


def unavailable(host: str, detail: str) -> errors.HypervisorUnavailable:
    """Make the error for a hypervisor that does not answer."""
    return errors.HypervisorUnavailable(host=host, detail=detail)


def translate(problem: libvirt.libvirtError, host: str, what: str, *, is_connected: bool) -> errors.Error:
    """Make our error of libvirt's. An error on a lost connection says nothing about any guest."""
    if not is_connected:
        return unavailable(host, text(problem))
    if code(problem) == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        # Another call holds the domain's lock: its QEMU does not answer libvirtd.
        return unavailable(host, text(problem))
    return errors.HypervisorFailure(host=host, what=what, detail=text(problem))
