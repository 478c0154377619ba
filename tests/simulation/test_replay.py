# SPDX-License-Identifier: Apache-2.0
"""A seed is a run: made twice, in processes that order their sets and dicts differently, its log is the same, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: With deaths, a lost database and aborted transfers in them.
_SEEDS = (2, 29, 41)


def _log(seed: int, hash_seed: str) -> bytes:
    command = [sys.executable, "-m", "wherry.testing.simulation", str(seed)]
    done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout.decode()[-4000:] + done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("seed", _SEEDS)
def test_a_seed_gives_the_same_log_each_time(seed: int) -> None:
    first, second = _log(seed, "1"), _log(seed, "2")
    assert len(first) > 10_000
    assert first == second
