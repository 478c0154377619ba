# SPDX-License-Identifier: Apache-2.0
"""The contract suite: every driver passes it unchanged, and no test in it knows which driver it tries.

A binding is a `Harness` and a test class that inherits `DriverContract` and has an asynchronous fixture `harness`.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(__name__)

from wherry.testing.driver_contract.harness import GuestWish, Harness, Load, Recorder, Storage  # noqa: E402 (the rewriting above comes first)
from wherry.testing.driver_contract.move import Move  # noqa: E402 (as above)

__all__ = ["GuestWish", "Harness", "Load", "Move", "Recorder", "Storage"]
