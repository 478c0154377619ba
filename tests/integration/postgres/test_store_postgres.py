# SPDX-License-Identifier: Apache-2.0
"""The store's contract suite on PostgreSQL, as Debian ships it."""

from __future__ import annotations

import pytest

from wherry.testing import store_contract
from wherry.testing.store_contract import admission

pytestmark = pytest.mark.postgres


class TestPostgres(store_contract.StoreContract): ...


class TestOvershoot(admission.OvershootContract): ...
