# SPDX-License-Identifier: Apache-2.0
"""Hands the identity routes to the strategy that answers them itself. Not there when a real identity service is used; decides nothing."""

from __future__ import annotations

import json
import urllib.parse

from starlette import requests, types

from wherry.api import answers, dispatcher, faults
from wherry.api.middleware import exchange
from wherry.auth import login as auth_login

#: A request for a token is a few hundred bytes.
_MAX_BODY_BYTES = 16384


class LoginRoutes:
    """Answers /v3 and what goes with it; everything else goes on."""

    def __init__(self, app: types.ASGIApp, login: auth_login.Login) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] != "http" or not self._login.serves(scope["path"]):
            await self._app(scope, receive, send)
            return
        exchange.of(scope).route = auth_login.PREFIX
        question = auth_login.Question(
            method=scope["method"],
            segments=tuple(segment for segment in scope["path"].split("/") if segment),
            query=dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"))),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            content=await _content(requests.Request(scope, receive)),
            base=dispatcher.base_address(scope),
        )
        reply = self._login.answer(question)
        if reply.content is None:
            answer = answers.empty_answer(reply.status)
            answer.headers.update(reply.headers)
        else:
            answer = answers.json_answer(reply.content, reply.status, reply.headers)
        await answer(scope, receive, send)


async def _content(request: requests.Request) -> object:
    raw = b""
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _MAX_BODY_BYTES:
                raise faults.HttpFault(413, f"Request is too large. Send at most {_MAX_BODY_BYTES} bytes.")
    except requests.ClientDisconnect:
        raise faults.bad_request("The client went away before the whole request had come.") from None
    if not raw:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise faults.bad_request("Malformed request body") from None
