# SPDX-License-Identifier: Apache-2.0
"""Bind the transport suite to the NATS transport, on a real server."""

from __future__ import annotations

import pytest

from tests.integration.nats import servers
from wherry.rpc.transports import base
from wherry.testing import transport_contract
from wherry.testing.transport_contract.suite import subject

__all__ = ["subject"]

pytestmark = [pytest.mark.contract, pytest.mark.nats]


class TestNatsTransport(transport_contract.TransportContract):
    @pytest.fixture
    def connect(self, shared_server: servers.Server, join: servers.Join) -> transport_contract.Connect:
        async def connect() -> base.Transport:
            return await join(shared_server.section())

        return connect
