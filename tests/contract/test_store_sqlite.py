# SPDX-License-Identifier: Apache-2.0
"""The store's contract suite on SQLite, in line."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator

import pytest

from wherry.config import database as config_database
from wherry.testing import store_contract
from wherry.testing.store_contract import admission


@pytest.fixture
async def harness(tmp_path: pathlib.Path) -> AsyncIterator[store_contract.Harness]:
    # The disk is not waited for: what a power failure would do is no part of the contract.
    config = config_database.DatabaseSection(connection=f"sqlite:///{tmp_path}/wherry.sqlite", sqlite_synchronous="normal")
    made = store_contract.Harness(config=config)
    await made.store.upgrade()
    yield made
    await made.store.close()


class TestSqlite(store_contract.StoreContract): ...


class TestProcessOvershoot(admission.ProcessOvershootContract): ...
