# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver: QEMU guests moved peer to peer. The only importer of libvirt; no other driver is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from wherry import clock as wherry_clock
from wherry.drivers import base
from wherry.drivers.libvirt.driver import LibvirtDriver

if TYPE_CHECKING:
    from wherry.config import libvirt as libvirt_config

__all__ = ["driver"]


def driver(settings: base.HostSettings, section: object, clock: wherry_clock.Clock) -> base.HypervisorDriver:
    """Make the driver of one host; `section` is the [libvirt] section."""
    return LibvirtDriver(settings, cast("libvirt_config.LibvirtSection", section), clock)
