# SPDX-License-Identifier: Apache-2.0
"""The contract suite of the store: every database passes it unchanged, and no test in it knows which database it tries.

A binding has a fixture `harness` (a `Harness`) and a test class for each of the suites' classes, which inherits it.
"""

from __future__ import annotations

import pytest

_SUITES = "admission facts flavors hosts newer operations overview server_groups servers transactions transitions"
for _module in _SUITES.split():
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from wherry.testing.store_contract.harness import Harness, SettableClock  # noqa: E402 (the rewriting above comes first)

__all__ = ["Harness", "SettableClock"]
