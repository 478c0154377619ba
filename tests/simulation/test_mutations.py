# SPDX-License-Identifier: Apache-2.0
"""Each safeguard, broken on purpose in a process of its own, is missed by the simulation: it is not too tame to notice."""

from __future__ import annotations

import os
import sys

import pytest

from wherry.testing.simulation import mutations, pool

_MOST = 1000
#: Caught within two or three schedules: `make test` has the time for these.
_QUICK = ("admission_count", "undo_at_the_destination", "only_what_was_created", "epoch_fence")
#: Caught within some tens. docs/contributor/simulation.md says what is known of those that are not held to it.
_SLOW = (
    "chore_creation",
    "copy_noted_when_it_is_whole",
    "deadline_persistence",
    "deletion_after_the_outcome",
    "disks_of_others",
    "generation_check",
    "hand_over_is_noted",
    "lease_check",
    "lease_number",
    "one_fact_once",
    "one_step_at_a_time",
    "report_acknowledgement",
    "start_is_noted_first",
    "suspension_after_a_lost_reply",
    "stop_before_the_way_back",
    "sweep",
    "synced_notes",
    "take_back_of_a_build",
    "tombstones",
    "undo_of_a_move_at_the_destination",
    "unreachable_is_not_absent",
)


def _parameters() -> list[object]:
    return [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _SLOW)]


def test_each_names_a_mutation() -> None:
    """None of them has gone."""
    assert set(mutations.MUTATIONS) >= {*_QUICK, *_SLOW}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", _parameters())
def test_a_broken_safeguard_is_noticed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Within a thousand schedules; how many it took is said."""
    count, caught = pool.catch(name, range(1, _MOST + 1), jobs=os.cpu_count() or 1)
    assert caught is not None, f"{count} schedules went well without {name}"
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: schedule {count} showed it: {caught.problems[0].splitlines()[0]}\n")
