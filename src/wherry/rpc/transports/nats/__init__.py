# SPDX-License-Identifier: Apache-2.0
"""A NATS cluster as the bus: the only door to nats-py. What the bytes mean is the business of `rpc.client` and `rpc.server`."""

from __future__ import annotations

from wherry.rpc.transports.nats.settings import Settings, settings_of
from wherry.rpc.transports.nats.transport import NatsTransport

__all__ = ["NatsTransport", "Settings", "settings_of"]
