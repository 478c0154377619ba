# SPDX-License-Identifier: Apache-2.0
"""The contract suite of the store: every database passes it unchanged, and no test in it knows which database it tries.

A binding has a fixture `harness` (a `Harness`) and a test class that inherits `StoreContract`.
"""

from __future__ import annotations

import pkgutil

import pytest

# The rewriting comes first, so that a failed assertion in the suite shows what it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from wherry.testing.store_contract.harness import Harness, SettableClock  # noqa: E402 (as said above)
from wherry.testing.store_contract.suite import StoreContract  # noqa: E402 (as said above)

__all__ = ["Harness", "SettableClock", "StoreContract"]
