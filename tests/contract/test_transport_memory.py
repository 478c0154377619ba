# SPDX-License-Identifier: Apache-2.0
"""Bind the transport suite to the memory transport."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from wherry.rpc.transports import base, memory
from wherry.testing import transport_contract
from wherry.testing.transport_contract.suite import subject

__all__ = ["subject"]

pytestmark = pytest.mark.contract


class TestMemoryTransport(transport_contract.TransportContract):
    @pytest.fixture
    async def connect(self) -> AsyncIterator[transport_contract.Connect]:
        bus = memory.MemoryBus()
        opened: list[memory.MemoryTransport] = []

        async def connect() -> base.Transport:
            transport = memory.MemoryTransport(bus)
            await transport.open()
            opened.append(transport)
            return transport

        yield connect
        for transport in opened:
            await transport.close()

    async def test_a_severed_process_is_silent_and_not_told(self) -> None:
        bus = memory.MemoryBus()
        dead, other = memory.MemoryTransport(bus), memory.MemoryTransport(bus)
        await dead.open()
        await other.open()
        inbox = transport_contract.suite.Inbox(b"x")
        await other.subscribe("s", inbox)
        await dead.subscribe("d", inbox)
        dead.sever()
        await dead.publish("s", b"unheard")
        with pytest.raises(base.NoAnswer):
            await dead.request("s", b"unheard", 0.05)
        with pytest.raises(base.NoResponders):
            await other.request("d", b"x", 5)
        assert inbox.received == []
        await other.close()
        await dead.close()
