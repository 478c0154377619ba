# SPDX-License-Identifier: Apache-2.0
"""All chance of a run, from one seed: one stream for each purpose, so that a draw more in one place changes nothing in another."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from wherry.testing import lent_store

T = TypeVar("T")


class Chance:
    """The streams of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """Give the stream of that name."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.seed}/{name}")
        return self._streams[name]

    def ids(self, name: str) -> Callable[[], str]:
        """Give what makes uuids for one purpose."""
        stream = self.stream(f"ids/{name}")
        return lambda: lent_store.uuid_of(stream)


def weighted(stream: random.Random, choices: Sequence[tuple[float, T]]) -> T:
    """Draw one of several, each with its weight."""
    left = stream.random() * sum(weight for weight, _ in choices)
    for weight, choice in choices:
        left -= weight
        if left < 0:
            return choice
    return choices[-1][1]
