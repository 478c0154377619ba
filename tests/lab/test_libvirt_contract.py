# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver passes the contract suite, on real guests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.lab import libvirt_harness
from wherry.testing import driver_contract
from wherry.testing import lab as labs

pytestmark = [pytest.mark.lab]


@pytest.fixture
async def harness(lab: labs.Lab) -> AsyncIterator[libvirt_harness.LibvirtHarness]:
    async with libvirt_harness.opened(lab) as bound:
        yield bound


class TestLibvirtDriver(driver_contract.DriverContract):
    """The whole suite."""
