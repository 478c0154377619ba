# SPDX-License-Identifier: Apache-2.0
"""A schedule's last request came after the last fault, and the simulation judged while what it asked for was under way."""

from __future__ import annotations

import dataclasses

from wherry.testing.simulation import run, schedule


def test_a_request_long_after_the_last_fault_comes_to_its_end_first() -> None:
    plan = schedule.make(1)
    late = schedule.Deed(at=plan.fault_seconds + 40.0, what="action", name=plan.guests[0].name, keys={"migrate": {"host": None}})
    # Such a one is passed over, and must not be waited for.
    unmade = schedule.Deed(at=1.0, what="delete", name="b1")
    result = run.run_schedule(
        dataclasses.replace(plan, deeds=(unmade, late), strikes=(), weather=schedule.Weather()),
    )
    assert result.problems == []
    assert sum(result.ended.values()) == 1, "the request was never made"
    assert plan.fault_seconds + 40.0 < result.virtual_seconds < plan.fault_seconds + 400.0
