# SPDX-License-Identifier: Apache-2.0
"""Flavors: what a server is given. Those that were made, and those told from the size of a guest that was found.

Pure. A server keeps a copy of its flavor, so that a flavor which is changed or deleted changes no server.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

_ID = re.compile(r"[a-zA-Z0-9. _-]{1,255}")
_SIZE_ID = re.compile(r"c(\d{1,9})-m(\d{1,9})-d(\d{1,9})")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Flavor:
    """One flavor."""

    #: The id that clients name it by; Nova's flavorid.
    id: str
    name: str
    #: Of its row, which the API shows of migrations; None for one that has no row. It says nothing of what the flavor is.
    number: int | None = dataclasses.field(default=None, compare=False)
    memory_mib: int
    vcpus: int
    root_gib: int
    ephemeral_gib: int = 0
    swap_mib: int = 0
    rxtx_factor: float = 1.0
    #: Whether everybody sees it; others are the administrators'.
    is_public: bool = True
    is_disabled: bool = False
    description: str | None = None
    extra_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)


def is_id(text: str) -> bool:
    """Say whether a text can be the id of a flavor."""
    return _ID.fullmatch(text) is not None


def of_size(*, vcpus: int, memory_mib: int, root_gib: int) -> Flavor:
    """Give the flavor of a guest that was not made from one: its id, which is also its name, says everything about it."""
    told = f"c{vcpus}-m{memory_mib}-d{root_gib}"
    return Flavor(id=told, name=told, vcpus=vcpus, memory_mib=memory_mib, root_gib=root_gib)


def read_size(flavor_id: str) -> Flavor | None:
    """Give the flavor of an id that says its size; None when it is no such id."""
    match = _SIZE_ID.fullmatch(flavor_id)
    return None if match is None else of_size(vcpus=int(match[1]), memory_mib=int(match[2]), root_gib=int(match[3]))
