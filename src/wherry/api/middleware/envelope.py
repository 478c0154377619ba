# SPDX-License-Identifier: Apache-2.0
"""The outermost layer: gives the request its id, and puts on every answer the headers that every answer has.

Those are the request ids and, once the version is known, both version headers with their Vary. Never looks at a body.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette import types

from wherry.api.middleware import exchange
from wherry.telemetry import logs

_REQUEST_ID_HEADERS = (b"x-openstack-request-id", b"x-compute-request-id")
_VERSION_HEADER = b"OpenStack-API-Version"
_LEGACY_VERSION_HEADER = b"X-OpenStack-Nova-API-Version"


class Envelope:
    """:param new_request_id: makes "req-" and a uuid; a simulation passes its own"""

    def __init__(self, app: types.ASGIApp, new_request_id: Callable[[], str]) -> None:
        self._app = app
        self._new_request_id = new_request_id

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A request id that the client sends is not taken over: it keys the instance action, so it must be unique.
        this = exchange.begin(scope, self._new_request_id())

        async def send_with_headers(message: types.Message) -> None:
            if message["type"] == "http.response.start":
                this.code = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(this)]
            await send(message)

        with logs.bound(request_id=this.request_id):
            await self._app(scope, receive, send_with_headers)


def _headers(this: exchange.Exchange) -> list[tuple[bytes, bytes]]:
    request_id = this.request_id.encode("ascii")
    found = [(name, request_id) for name in _REQUEST_ID_HEADERS]
    if this.version is not None:
        text = str(this.version).encode("ascii")
        found += [
            (_VERSION_HEADER.lower(), b"compute " + text),
            (_LEGACY_VERSION_HEADER.lower(), text),
            (b"vary", _VERSION_HEADER),
            (b"vary", _LEGACY_VERSION_HEADER),
        ]
    return found
