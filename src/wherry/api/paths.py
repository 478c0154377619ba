# SPDX-License-Identifier: Apache-2.0
"""The parts of a path that stand before a resource: version prefix and project. Knows no resource.

/v2.1 is the API; /v2 is the same without microversions and tolerant of unknown keys; everything else is discovery.
"""

from __future__ import annotations

import dataclasses

PREFIX = "/v2.1"
LEGACY_PREFIX = "/v2"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A path cut behind its version prefix."""

    #: "/v2.1", "/v2", or "" for a path with neither.
    prefix: str
    #: Segments behind the prefix; empty for the version document itself.
    segments: tuple[str, ...]

    @property
    def is_legacy(self) -> bool:
        return self.prefix == LEGACY_PREFIX


def split(path: str) -> Split:
    """Cut a path; doubled and trailing slashes mean nothing."""
    segments = tuple(segment for segment in path.split("/") if segment)
    for prefix in (PREFIX, LEGACY_PREFIX):
        if segments and segments[0] == prefix[1:]:
            return Split(prefix=prefix, segments=segments[1:])
    return Split(prefix="", segments=segments)


def has_microversions(path: str) -> bool:
    """Say whether the version headers count there: under /v2.1 only."""
    return split(path).prefix == PREFIX


def is_public(path: str) -> bool:
    """Say whether a path is answered without a token: version documents, which clients read before they have one."""
    parts = split(path)
    return not parts.prefix or not parts.segments
