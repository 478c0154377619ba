# SPDX-License-Identifier: Apache-2.0
"""Turns every exception of the layers further in into an error answer. Lets none out, and no traceback with it."""

from __future__ import annotations

import asyncio

from starlette import types

from wherry import errors
from wherry.api import answers
from wherry.api import faults as api_faults
from wherry.api.middleware import exchange
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class Faults:
    """The last layer that sees an exception."""

    def __init__(self, app: types.ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        try:
            await self._app(scope, receive, send)
        except api_faults.HttpFault as fault:
            await self._answer(fault, scope, receive, send)
        except errors.Error as error:
            answer = api_faults.of_error(error)
            if answer.code >= 500:
                _log.error("A request failed", action="api.failed", slug=error.slug, error=error.message)
            await self._answer(answer, scope, receive, send)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _log.exception("A request failed unexpectedly", action="api.failed", path=scope.get("path"))
            if scope["type"] != "http":
                raise
            await self._answer(api_faults.unexpected(error, exchange.of(scope).request_id), scope, receive, send)

    async def _answer(self, fault: api_faults.HttpFault, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        this = exchange.of(scope)
        if this.code:
            # The answer is already on its way; its connection is closed for want of the rest.
            return
        named = api_faults.with_request_id(fault, this.request_id)
        await answers.json_answer(api_faults.body(named), named.code, named.headers)(scope, receive, send)
