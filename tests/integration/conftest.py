# SPDX-License-Identifier: Apache-2.0
"""The one PostgreSQL server of all tests here: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from wherry.testing import postgres_server


@pytest.fixture(scope="session")
def postgresql(require_real: Callable[[str, str | None], None]) -> Iterator[postgres_server.Server]:
    """Start it; each test makes a database of its own, or empties the one that it shares."""
    require_real("PostgreSQL", postgres_server.why_unavailable())
    with postgres_server.running() as server:
        yield server
