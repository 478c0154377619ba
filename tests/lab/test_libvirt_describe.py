# SPDX-License-Identifier: Apache-2.0
"""What is told of real guests at which others are busy."""

from __future__ import annotations

import asyncio
import threading

import libvirt
import pytest

from tests.lab import libvirt_harness
from wherry.testing import lab as labs

pytestmark = pytest.mark.lab


async def test_a_guest_that_somebody_else_asks_has_disks_of_their_sizes(lab: labs.Lab, make_guest: labs.MakeGuest) -> None:
    """Libvirt leaves sizes out while another call is at the guest; a check then took its disk for one without a size."""
    guest = make_guest(disk="private", disk_mib=16)
    stop = threading.Event()

    def ask() -> None:
        opened = libvirt.open(lab.host("h1").uri)
        domain = opened.lookupByName(guest.name)
        while not stop.wait(0.002):
            domain.blockInfo("vda")
        opened.close()

    async with libvirt_harness.opened(lab) as harness:
        asking = asyncio.create_task(asyncio.to_thread(ask))
        try:
            for _ in range(60):
                (described,) = await harness.source_driver.describe_guests([guest.uuid])
                assert [disk.capacity_bytes for disk in described.disks] == [16 << 20]
        finally:
            stop.set()
            await asking
