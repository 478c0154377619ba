# SPDX-License-Identifier: Apache-2.0
"""Where the demo's guests live: what the story needs of real hosts and of simulated ones alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

#: Section -> option -> value, as in a configuration file.
Configuration = Mapping[str, Mapping[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What one hypervisor says of one guest."""

    host: str
    #: What was asked, as a person could type it on the host, and what came back.
    answers: tuple[tuple[str, str], ...]
    is_running: bool
    is_absent: bool


class Site(Protocol):
    """Hosts with guests, two of which the demo moves; what it says of them comes from the hypervisors, not from Wherry."""

    @property
    def host_count(self) -> int:
        """How many hosts there are."""
        ...

    @property
    def calm(self) -> str:
        """Name of a guest that writes slower than its memory is sent."""
        ...

    @property
    def busy(self) -> str:
        """Name of a guest that writes faster."""
        ...

    @property
    def budget_seconds(self) -> int:
        """After which time the busy guest is to be forced across: shorter than its memory takes."""
        ...

    def describe(self) -> Sequence[str]:
        """Say in a few lines what is there."""
        ...

    def configuration(self) -> Configuration:
        """Give what Wherry must be told to serve these hosts."""
        ...

    def look(self, guest: str, hosts: Sequence[str]) -> Sequence[Sighting]:
        """Ask each hypervisor itself for the guest; nothing where there is none to ask."""
        ...

    def check_memory(self, guest: str) -> str:
        """Say how much of the guest's memory was checked by itself and found right; empty where that is not possible.

        :raises LabError: it found a page that is wrong.
        """
        ...


def render(configuration: Configuration) -> str:
    """Write a configuration file; a dollar sign is doubled, because it begins a reference there."""
    blocks = []
    for section, options in configuration.items():
        lines = [f"{name} = {value.replace('$', '$$')}" for name, value in options.items()]
        blocks.append("\n".join([f"[{section}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def merge(*configurations: Configuration) -> dict[str, dict[str, str]]:
    """Put configurations together; the later one wins."""
    merged: dict[str, dict[str, str]] = {}
    for configuration in configurations:
        for section, options in configuration.items():
            merged.setdefault(section, {}).update(options)
    return merged
