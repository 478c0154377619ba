# SPDX-License-Identifier: Apache-2.0
"""Answers who asks whether the process lives and is ready, and lets no request pass before it has started."""

from __future__ import annotations

from starlette import responses, types

from wherry import errors
from wherry.telemetry import health as wherry_health


class Probes:
    """Answers the health paths; everything else goes on."""

    def __init__(self, app: types.ASGIApp, health: wherry_health.Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        is_probe = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        answer = await self._health.answer(scope["path"]) if is_probe else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        response = responses.Response(answer.body, answer.status, media_type=answer.content_type)
        await response(scope, receive, send)


class Gate:
    """Refuses requests while the process starts."""

    def __init__(self, app: types.ASGIApp, health: wherry_health.Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        lack = self._health.starting
        if lack is not None:
            raise errors.StillStarting(reason=lack.reason)
        await self._app(scope, receive, send)
