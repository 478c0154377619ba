# SPDX-License-Identifier: Apache-2.0
"""The innermost layer: path, version and body choose a route; its schema, rule, handler and view make the answer.

Knows no resource. In this order, which is Nova's where a client can tell: path 404, method 405, project 400, body 415/413/400, version
404, schema 400, then what the handler finds (server 404, rule 403, state 409).
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from typing import Any

from starlette import types

from wherry.api import answers, faults, microversions, openapi, routing
from wherry.api import call as api_call
from wherry.api import paths as api_paths
from wherry.api.handlers import versions
from wherry.api.middleware import exchange

_CONTENT_TYPES = ("application/json", "application/vnd.openstack.compute+json")
_WITH_BODY = ("POST", "PUT", "PATCH")
#: Of an integer in a body.
_MOST_DIGITS = 100


class Dispatcher:
    """The ASGI application inside all layers."""

    def __init__(self, table: routing.Table, parts: api_call.Parts) -> None:
        self._table = table
        self._parts = parts
        self._max_body_bytes = parts.config.api.max_request_body_bytes

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        split = api_paths.split(scope["path"])
        this = exchange.of(scope)
        if not split.prefix and split.segments == (openapi.PATH,):
            this.route = f"/{openapi.PATH}"
            versions.only_read(scope["method"])
            version = openapi.asked_for(_parameters(scope["query_string"]))
            answer: types.ASGIApp = answers.json_answer(openapi.document(version, base_address(scope)), 200)
        elif not split.prefix or not split.segments:
            this.route = "/" if not split.prefix else split.prefix
            answer = versions.discover(scope["method"], scope["path"], split, base_address(scope))
        else:
            # No id or name has a NUL in it; PostgreSQL takes none, and SQLite's patterns end before it.
            endpoint = self._table.find(split.segments) if "\0" not in scope["path"] else None
            if endpoint is None:
                raise faults.not_found()
            this.route = endpoint.path
            answer = await self._answer(scope, receive, split, endpoint)
        await answer(scope, receive, send)

    async def _answer(
        self, scope: types.Scope, receive: types.Receive, split: api_paths.Split, endpoint: routing.Endpoint
    ) -> types.ASGIApp:
        this = exchange.of(scope)
        method = scope["method"]
        # The legacy API has no microversions: it is the first one, and tolerant.
        version = this.version or microversions.MINIMUM
        endpoint.require(method, version)
        caller = this.caller
        if caller is None:
            raise RuntimeError("a request reached the dispatcher without having been authenticated")
        if endpoint.project_id and endpoint.project_id != caller.project_id:
            raise faults.bad_request(
                f"Malformed request URL: URL's project_id '{endpoint.project_id}' doesn't match Context's project_id '{caller.project_id}'"
            )
        # Where no body names the action, the route is known before it: a method that this version lacks is a 404, whatever the body.
        known = None if endpoint.takes_actions(method) else endpoint.choose(method, version)
        has_body = method in _WITH_BODY and (known is None or known.body is not None)
        content = await self._body(scope, receive) if has_body else None
        action = _action_of(content, endpoint.actions(method, version)) if known is None else ""
        route = known or endpoint.choose(method, version, action)
        if route.body is not None:
            route.body.check_body(content, version, is_tolerant=split.is_legacy)
        parameters = _parameters(scope["query_string"])
        if route.query is not None:
            parameters = route.query.check_query(parameters, version)
        call = api_call.Call(
            parts=self._parts,
            version=version,
            caller=caller,
            policy=route.policy,
            arguments=endpoint.arguments,
            query=api_call.Query(values=parameters),
            body=content[action] if action and isinstance(content, dict) else content,
            address=api_call.Address(
                base=base_address(scope),
                prefix=split.prefix,
                # Encoded again, since links and the header Location are made of it.
                path=urllib.parse.quote("/" + "/".join(split.segments[1:] if endpoint.project_id else split.segments)),
                project_id=urllib.parse.quote(endpoint.project_id, safe=""),
            ),
        )
        if route.concern is routing.Concern.CALLER:
            call.authorize()
        result = await route.handler(call)
        if not call.is_authorized:
            raise RuntimeError(f"{route.name} was answered without asking {route.policy}")
        if route.view is None:
            return answers.empty_answer(route.status, route.location(call) if route.location else "")
        return answers.json_answer(route.view(result, call), route.status)

    async def _body(self, scope: types.Scope, receive: types.Receive) -> object:
        raw = await self._read(scope, receive)
        if not raw:
            raise _malformed("it is empty. Send a JSON object.")
        content_type = (exchange.header(scope, b"content-type") or _CONTENT_TYPES[0]).split(";", 1)[0].strip().lower()
        if content_type not in _CONTENT_TYPES:
            raise faults.HttpFault(415, f"Unsupported Content-Type {content_type}. Send {_CONTENT_TYPES[0]}.")
        try:
            # Decoded here: json itself would take UTF-16 too, and halves of characters.
            text = raw.decode("utf-8-sig")
            return json.loads(text, parse_constant=_refuse_constant, parse_int=_read_integer, object_pairs_hook=_without_doubles)
        except RecursionError:
            raise _malformed("it is nested too deeply.") from None
        except UnicodeDecodeError:
            raise _malformed("it is not UTF-8.") from None
        except ValueError as error:
            raise _malformed(f"it is not JSON: {error}.") from None

    async def _read(self, scope: types.Scope, receive: types.Receive) -> bytes:
        announced = exchange.header(scope, b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._max_body_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise faults.bad_request("The client went away before the whole request had come.")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body_bytes:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> faults.HttpFault:
        return faults.HttpFault(413, f"Request is too large. Send at most {self._max_body_bytes} bytes.")


def base_address(scope: types.Scope) -> str:
    """Give scheme, host and port as the client wrote them, so that links lead back to where it came in."""
    host = exchange.header(scope, b"host")
    if not host:
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{scope.get('scheme', 'http')}://{host}"


def _action_of(content: object, known: Sequence[str]) -> str:
    if not isinstance(content, dict) or len(content) != 1:
        raise _malformed(f"send an object with one key, the action, which is one of: {', '.join(known)}.")
    return str(next(iter(content)))


def _malformed(why: str) -> faults.HttpFault:
    # The beginning is Nova's whole sentence.
    return faults.bad_request(f"Malformed request body: {why}")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; of two values under one key, which one was meant cannot be known."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return made


def _read_integer(digits: str) -> int:
    # Python itself stops at some thousand digits, in words about Python.
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits, and none needs more than {_MOST_DIGITS}")
    return int(digits)


def _refuse_constant(name: str) -> object:
    # NaN and the infinities are no JSON, and pass every bound of a schema.
    raise ValueError(f"{name} is no number")


def _parameters(query_string: bytes) -> dict[str, list[str]]:
    try:
        pairs = urllib.parse.parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise faults.bad_request("Query string is not UTF-8 encoded") from None
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return parameters
