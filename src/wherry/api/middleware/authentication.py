# SPDX-License-Identifier: Apache-2.0
"""Establishes who asks, except where discovery must work without a token. What the caller may do is asked further in."""

from __future__ import annotations

from starlette import types

from wherry import errors
from wherry.api import dispatcher, faults
from wherry.api import paths as api_paths
from wherry.api.middleware import exchange
from wherry.auth import strategy as auth_strategy


class Authentication:
    """Leaves the caller in the exchange."""

    def __init__(self, app: types.ASGIApp, strategy: auth_strategy.Strategy) -> None:
        self._app = app
        self._strategy = strategy

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] == "http" and not api_paths.is_public(scope["path"]):
            this = exchange.of(scope)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            try:
                this.caller = await self._strategy.authenticate(headers, this.request_id)
            except errors.Unauthenticated as error:
                challenge = self._strategy.challenge(dispatcher.base_address(scope))
                raise faults.HttpFault(401, error.message, {"WWW-Authenticate": challenge}) from None
        await self._app(scope, receive, send)
