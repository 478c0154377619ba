# SPDX-License-Identifier: Apache-2.0
"""One log line and one measurement for each request, with the status that really went out. Never logs headers or bodies."""

from __future__ import annotations

from starlette import types

from wherry import clock as wherry_clock
from wherry.api.middleware import exchange
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

_log = logs.get_logger(__name__)


class RequestLog:
    """Sees the status of errors too, because errors have become answers further in."""

    def __init__(self, app: types.ASGIApp, clock: wherry_clock.Clock, metrics: wherry_metrics.Metrics | None) -> None:
        self._app = app
        self._clock = clock
        self._metrics = metrics

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        try:
            await self._app(scope, receive, send)
        finally:
            this = exchange.of(scope)
            seconds = self._clock.monotonic() - started
            if self._metrics is not None:
                route = this.route or "none"
                self._metrics.api_request_seconds.labels(method=scope["method"], route=route, status=str(this.code)).observe(seconds)
            # Reads are asked for by every poll; what changes something is what an operator looks for.
            write = _log.debug if scope["method"] in ("GET", "HEAD") and this.code < 500 else _log.info
            write(
                "Answered a request",
                action="api.answered",
                method=scope["method"],
                path=scope["path"],
                status=this.code,
                version=str(this.version) if this.version else None,
                user_id=this.caller.user_id if this.caller else None,
                project_id=this.caller.project_id if this.caller else None,
                milliseconds=round(seconds * 1000, 1),
            )
