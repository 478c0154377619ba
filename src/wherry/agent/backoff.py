# SPDX-License-Identifier: Apache-2.0
"""Pauses between tries, each twice as long as the one before, up to a limit.

Waits for nothing itself.
"""

from __future__ import annotations


class Backoff:
    """Gives the pauses of one series of tries."""

    def __init__(self, initial_seconds: float, max_seconds: float) -> None:
        self._initial_seconds = initial_seconds
        self._max_seconds = max_seconds
        self._next_seconds = initial_seconds
        self._has_failed = False

    @property
    def has_failed(self) -> bool:
        """Whether a pause was asked for since the last reset."""
        return self._has_failed

    def next_seconds(self) -> float:
        """Give the pause before the next try."""
        seconds = self._next_seconds
        self._next_seconds = min(self._max_seconds, seconds * 2)
        self._has_failed = True
        return seconds

    def reset(self) -> bool:
        """Begin again with the shortest pause; say whether a try had failed."""
        had_failed = self._has_failed
        self._has_failed = False
        self._next_seconds = self._initial_seconds
        return had_failed
