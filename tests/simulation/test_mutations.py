# SPDX-License-Identifier: Apache-2.0
"""Each safeguard, broken on purpose in a process of its own, is missed by the simulation: it is not too tame to notice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wherry.testing.simulation import directed, mutations, pool

_MOST = 1000
#: Caught within two or three schedules: `make test` has the time for these.
_QUICK = ("admission_count", "undo_at_the_destination", "only_what_was_created", "epoch_fence")
#: Caught within some tens; docs/contributor/simulation.md has the numbers.
_SLOW = tuple(sorted(set(mutations.MUTATIONS) - set(_QUICK)))


def _parameters() -> list[object]:
    return [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _SLOW)]


def test_each_is_looked_for_in_schedules_that_there_are() -> None:
    """No mutation has gone, nor has a kind of schedules that one names."""
    assert set(mutations.MUTATIONS) >= {*_QUICK}
    assert set(directed.KINDS) | {""} >= set(mutations.ABOUT.values())


def test_what_each_breaks_is_there() -> None:
    """In a process of its own, since it stays broken; a mutation whose safeguard has moved raises."""
    apply_all = "from wherry.testing.simulation import mutations; [mutations.apply(name) for name in mutations.MUTATIONS]"
    subprocess.run([sys.executable, "-c", apply_all], check=True)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", _parameters())
def test_a_broken_safeguard_is_noticed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Within a thousand schedules; how many it took is said."""
    count, caught = pool.catch(name, range(1, _MOST + 1), jobs=os.cpu_count() or 1)
    assert caught is not None, f"{count} schedules went well without {name}"
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: schedule {count} showed it: {caught.problems[0].splitlines()[0]}\n")
