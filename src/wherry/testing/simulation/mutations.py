# SPDX-License-Identifier: Apache-2.0
"""Safeguards, each broken on purpose: if the simulation did not notice, it would be too tame, or the safeguard superfluous."""

from __future__ import annotations

from collections.abc import Callable

MUTATIONS: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Break a safeguard in this process, for as long as it lives; an empty name breaks none.

    :raises KeyError: there is none of that name.
    """
    if name:
        MUTATIONS[name]()
