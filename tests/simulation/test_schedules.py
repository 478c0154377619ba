# SPDX-License-Identifier: Apache-2.0
"""Hundreds of seeded schedules with faults of every kind: whatever befalls, the invariants hold."""

from __future__ import annotations

import os

import pytest

from wherry.testing.simulation import pool

#: How many; `make verify` asks for more.
_SCHEDULES = int(os.environ.get("WHERRY_SIMULATION_SCHEDULES", "200"))


@pytest.mark.timeout(0)
def test_the_invariants_hold_in_every_schedule() -> None:
    """Each failing seed is named with what did not hold, and how to replay it."""
    told: list[str] = []
    count, failed = pool.summary(pool.run_all(range(1, _SCHEDULES + 1), jobs=os.cpu_count() or 1), told.append)
    assert count == _SCHEDULES
    assert not failed, "\n".join(told)
