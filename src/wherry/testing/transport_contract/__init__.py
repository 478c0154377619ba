# SPDX-License-Identifier: Apache-2.0
"""What every transport must do, as tests: subclass `TransportContract` in a test module and give it a `connect` fixture.

Knows no transport by name, so that what passes here is what the rest of Wherry may rely on.
"""

from __future__ import annotations

from wherry.testing.transport_contract.suite import Connect, TransportContract

__all__ = ["Connect", "TransportContract"]
