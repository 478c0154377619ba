# SPDX-License-Identifier: Apache-2.0
"""Finds drivers by name among the entry points of the group `wherry.drivers`, ours and third parties'.

Imports none until it is asked for, so that a control node needs no hypervisor's library.
"""

from __future__ import annotations

import functools
import importlib.metadata
from typing import cast

from wherry import errors
from wherry.drivers import base

GROUP = "wherry.drivers"


def known() -> list[str]:
    """Give the names that may be configured, sorted."""
    return sorted(importlib.metadata.entry_points(group=GROUP).names)


@functools.cache
def load(name: str) -> base.DriverFactory:
    """Give the factory of a driver.

    :raises ConfigInvalid: when nobody registered the name, or what it names cannot be imported.
    """
    found = importlib.metadata.entry_points(group=GROUP, name=name)
    if not found:
        raise errors.ConfigInvalid(
            where="[agent] driver",
            problem=f"there is no driver named {name!r}",
            instead=f"Use one of {', '.join(known())}, or install the package that brings {name!r}.",
        )
    try:
        return cast("base.DriverFactory", next(iter(found)).load())
    except (ImportError, AttributeError) as problem:
        raise errors.ConfigInvalid(
            where="[agent] driver",
            problem=f"the driver {name!r} cannot be loaded: {problem}",
            instead=f"Install what it needs, for a driver of ours with pip install 'wherry[{name}]'.",
        ) from problem
