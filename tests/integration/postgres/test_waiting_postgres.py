# SPDX-License-Identifier: Apache-2.0
"""Clients that wait for checks while there are far fewer connections to PostgreSQL than clients."""

from __future__ import annotations

import pathlib

import pytest

from benchmarks import waiting
from wherry.config import database as config_database

pytestmark = pytest.mark.postgres


async def test_three_hundred_clients_wait_with_two_connections(tmp_path: pathlib.Path, config: config_database.DatabaseSection) -> None:
    database = {"connection": config.connection, "pool_size": "2", "max_overflow": "0"}
    async with waiting.Crowd(tmp_path, database) as crowd:
        measured = await crowd.measure(300, 20)
    assert measured.connections_waiting == 1
    assert measured.threads_during == measured.threads_before
    assert set(measured.codes) == {202}
