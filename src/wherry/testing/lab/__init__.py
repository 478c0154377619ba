# SPDX-License-Identifier: Apache-2.0
"""Several libvirt hosts on one machine, for tests, the demo and contributors; see docs/howto/lab.md.

Must not import libvirt, nor anything of the product.
"""

from __future__ import annotations

from wherry.testing.lab.errors import CommandFailed, LabError, LabUnavailable
from wherry.testing.lab.guest import Guest, GuestSpec
from wherry.testing.lab.host import Host
from wherry.testing.lab.lab import Lab, MakeGuest, take_down_orphans
from wherry.testing.lab.machine import why_unavailable
from wherry.testing.lab.payloads import Beacon

__all__ = [
    "Beacon",
    "CommandFailed",
    "Guest",
    "GuestSpec",
    "Host",
    "Lab",
    "LabError",
    "LabUnavailable",
    "MakeGuest",
    "take_down_orphans",
    "why_unavailable",
]
