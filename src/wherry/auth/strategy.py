# SPDX-License-Identifier: Apache-2.0
"""What establishes a caller's identity, and how the one that the configuration names is made.

Decides nothing itself; each strategy has a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from wherry import config, errors
from wherry.auth import context, noauth


class Strategy(Protocol):
    """One way to know callers."""

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        """Establish who sent these headers (names in lower case).

        May wait for another service, so it is called once a request and never inside a unit of work.
        :raises Unauthenticated: when the headers name nobody this strategy believes
        :raises Unavailable: when the service that would know does not answer
        """

    async def close(self) -> None:
        """Let go of connections. Nothing is authenticated afterwards."""


def from_config(section: config.ApiSection) -> Strategy:
    """Make the strategy that [api] auth_strategy names.

    :raises ConfigInvalid: when it must not be used on the configured address, or is not known
    """
    if section.auth_strategy == "noauth":
        return noauth.NoAuth(section)
    raise errors.ConfigInvalid(
        where="[api] auth_strategy",
        problem=f"{section.auth_strategy} is not available in this release",
        instead="Use auth_strategy = noauth on a loopback address.",
    )
