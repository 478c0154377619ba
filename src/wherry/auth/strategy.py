# SPDX-License-Identifier: Apache-2.0
"""What establishes a caller's identity, and how the one that the configuration names is made.

Decides nothing itself; each strategy has a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from wherry import clock as clocks
from wherry import config
from wherry.auth import context, login, noauth
from wherry.telemetry import metrics as wherry_metrics


class Strategy(Protocol):
    """One way to know callers."""

    #: The identity routes that it answers itself; None where an identity service of its own does.
    login: login.Login | None

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        """Establish who sent these headers (names in lower case).

        May wait for another service, so it is called once a request and never inside a unit of work.
        :raises Unauthenticated: when the headers name nobody this strategy believes
        :raises ScopeRefused: when they name somebody who acts for no project
        :raises Unavailable: when the service that would know does not answer
        """

    def challenge(self, base: str) -> str:
        """Say in a 401 where to get a token, as the value of WWW-Authenticate.

        :param base: "http://host:port" as the client wrote it
        """

    async def close(self) -> None:
        """Let go of connections. Nothing is authenticated afterwards."""


def from_config(settings: config.Config, clock: clocks.Clock, metrics: wherry_metrics.Metrics | None = None) -> Strategy:
    """Make the strategy that [api] auth_strategy names.

    :raises ConfigInvalid: when it must not be used on the configured address
    """
    if settings.api.auth_strategy == "keystone":
        # Loaded late: a site without Keystone need not wait for its client at each start.
        from wherry.auth import keystone  # noqa: PLC0415 - needed with Keystone only

        return keystone.Keystone(settings.keystone, clock, metrics)
    return noauth.NoAuth(settings.api, clock)
