# SPDX-License-Identifier: Apache-2.0
"""The API of one microversion as an OpenAPI 3.1 document, made from the table of routes: nothing in it is written by hand twice.

Knows no resource. GET /openapi.json?microversion=2.34 answers with it, without a token, as version documents are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from wherry.api import faults, microversions, paths, routes, routing, validation

PATH = "openapi.json"
_FORM = "application/json"
_VERSION_HEADER = "X-OpenStack-Nova-API-Version"
_HALVES = r"\ud800-\udfff"
_PARAMETER = re.compile(r"\{([a-z_]+)\}")
_TEXTS: Mapping[int, str] = {
    200: "What was asked for.",
    201: "Made, or there already.",
    202: "Recorded; it is done behind the answer.",
    204: "Done.",
    400: "The request is wrong; the message says what to send instead.",
    401: "No token that is believed.",
    403: "A rule forbids it; the message names the rule.",
    404: "There is no such thing, or not in this microversion, or it is another project's.",
    405: "The path does not know the method; Allow says which it knows.",
    406: "No such microversion.",
    409: "Something is in the way; the message says what.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    500: "Something failed; the message names the request id under which the log tells more.",
    503: "Something that is needed is away, or the process ends; try again.",
}


@functools.lru_cache(maxsize=256)
def document(version: microversions.Microversion, base: str) -> dict[str, Any]:
    """Give the document of a microversion; not to be changed by its reader.

    :param base: "http://host:port"
    """
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Wherry",
            "summary": "The Compute API as far as it concerns servers that move.",
            "version": str(version),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base + paths.PREFIX}],
        "security": [{"token": []}],
        "paths": {path: _item(path, found, version) for path, found in _by_path(version).items()},
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "headers": {name: {"required": True, "schema": schema} for name, schema in _headers(version).items()},
            "schemas": {"Fault": _FAULT},
            "responses": {str(code): _error(code) for code in _TEXTS if code >= 400},
        },
    }


def asked_for(parameters: Mapping[str, list[str]]) -> microversions.Microversion:
    """Read the query of the document's address; without one it is the newest.

    :raises HttpFault: 400 or 406, as for a request's own version
    """
    text = (parameters.get("microversion") or ["latest"])[-1]
    try:
        return microversions.parse(text)
    except microversions.Malformed as error:
        raise faults.bad_request(str(error)) from None
    except microversions.Unknown as error:
        raise faults.HttpFault(406, str(error)) from None


_FAULT = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
}


def _headers(version: microversions.Microversion) -> dict[str, Any]:
    request_id = {"type": "string", "pattern": "^req-"}
    return {
        "X-OpenStack-Request-Id": request_id,
        "X-Compute-Request-Id": request_id,
        "OpenStack-API-Version": {"type": "string", "const": f"compute {version}"},
        _VERSION_HEADER: {"type": "string", "const": str(version)},
    }


def _by_path(version: microversions.Microversion) -> dict[str, list[routing.Route]]:
    found: dict[str, list[routing.Route]] = {}
    for route in routes.ROUTES:
        first, last = route.versions
        if first <= version <= last:
            found.setdefault(route.path, []).append(route)
    return found


def _item(path: str, found: Iterable[routing.Route], version: microversions.Microversion) -> dict[str, Any]:
    methods: dict[str, list[routing.Route]] = {}
    for route in found:
        methods.setdefault(route.method.lower(), []).append(route)
    named = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PARAMETER.findall(path)]
    # Required here, although a request without it is understood: as 2.1, which is another document.
    own = {"name": _VERSION_HEADER, "in": "header", "required": True, "schema": {"type": "string", "enum": [str(version)]}}
    return {"parameters": [*named, own]} | {method: _operation(method, of_method, version) for method, of_method in methods.items()}


def _operation(method: str, found: list[routing.Route], version: microversions.Microversion) -> dict[str, Any]:
    """Describe one method of one path; where the body names an action, all its actions together."""
    codes = sorted({code for route in found for code in route.codes})
    first = found[0]
    operation: dict[str, Any] = {
        "operationId": f"{method}{re.sub('[^a-zA-Z0-9]+', '_', first.path).rstrip('_')}",
        "tags": [first.path.split("/")[1]],
        "summary": " ".join(route.summary for route in found),
        "responses": {str(code): _response(code, found) for code in codes},
    }
    if first.query is not None:
        operation["parameters"] = _query(first.query.at(version))
    bodies = [_portable(route.body.at(version)) for route in found if route.body is not None]
    if bodies:
        schema = bodies[0] if len(bodies) == 1 else {"oneOf": bodies}
        operation["requestBody"] = {"required": True, "content": {_FORM: {"schema": schema}}}
    return operation


def _response(code: int, found: list[routing.Route]) -> dict[str, Any]:
    if code >= 400:
        return {"$ref": f"#/components/responses/{code}"}
    answer: dict[str, Any] = {"description": _TEXTS[code], "headers": _HEADER_REFERENCES}
    # Several actions share a path: only those that answer with this code tell whether it brings a body.
    if any(route.view is not None and route.status == code for route in found):
        answer["content"] = {_FORM: {"schema": {"type": "object", "minProperties": 1}}}
    return answer


_HEADER_REFERENCES = {name: {"$ref": f"#/components/headers/{name}"} for name in _headers(microversions.MINIMUM)}


def _error(code: int) -> dict[str, Any]:
    return {"description": _TEXTS[code], "content": {_FORM: {"schema": {"$ref": "#/components/schemas/Fault"}}}}


def _query(schema: validation.JsonSchema) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "style": "form", "explode": True, "schema": _as_text(parameter)}
        for name, parameter in schema.get("properties", {}).items()
    ]


def _as_text(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schema of a query's parameter as it stands in an address, where everything is text."""
    changed: dict[str, Any] = _portable(parameter)
    items = changed.get("items", {})
    if isinstance(items.get("type"), list):
        items["type"] = "string"
        items.pop("minimum", None)
        if "enum" in items:
            items["enum"] = [value for value in items["enum"] if isinstance(value, str)]
    return changed


def _portable(schema: Any) -> Any:
    """Give a copy whose patterns other languages read, too: half a character, which ours refuse, cannot stand in a document at all."""
    if isinstance(schema, Mapping):
        return {key: value.replace(_HALVES, "") if key == "pattern" else _portable(value) for key, value in schema.items()}
    if isinstance(schema, list | tuple):
        return [_portable(value) for value in schema]
    return schema
