# SPDX-License-Identifier: Apache-2.0
"""A seed is a run: made twice, in processes that order their sets and dicts differently, its log is the same, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: With deaths, aborted transfers and a database that goes away in them.
_SEEDS = (2, 8)


def _begin(seed: int, hash_seed: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "wherry.testing.simulation", str(seed)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_seed_gives_the_same_log_each_time(seed: int) -> None:
    running = [_begin(seed, hash_seed) for hash_seed in ("1", "2")]
    (first, errors), (second, _) = [one.communicate(timeout=100) for one in running]
    assert [one.returncode for one in running] == [0, 0], first.decode()[-4000:] + errors.decode()
    assert len(first) > 10_000
    assert first == second
