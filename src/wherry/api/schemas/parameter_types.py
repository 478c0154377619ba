# SPDX-License-Identifier: Apache-2.0
"""Types that schemas share, as strict and as lenient as Nova's. Data, and the reading of what they let through.

The order of keys matters: the first violated keyword is the one that the client is told of.
"""

from __future__ import annotations

from typing import Any

_TRUE = (True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes")
_FALSE = (False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no")

BOOLEAN: dict[str, Any] = {"type": ["boolean", "string"], "enum": [*_TRUE, *_FALSE]}
BOOLEAN_OR_AUTO: dict[str, Any] = {"type": ["boolean", "string"], "enum": [*_TRUE, *_FALSE, "auto"]}
NONE: dict[str, Any] = {"enum": ["None", None, {}]}
NULL: dict[str, Any] = {"type": "null"}
HOST: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"}
HOST_OR_NULL: dict[str, Any] = {**HOST, "type": ["string", "null"]}
#: No NUL and no half of a character, which no database takes.
TEXT: dict[str, Any] = {"type": "string", "pattern": r"^[^\x00\ud800-\udfff]*$"}
REASON: dict[str, Any] = {**TEXT, "minLength": 1, "maxLength": 255}
#: What things are called: 1 to 255 characters, and as Nova has it neither the first nor the last is a blank.
NAME: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": r"^[^\s\x00-\x1f\ud800-\udfff]([^\x00-\x1f\ud800-\udfff]*[^\s\x00-\x1f\ud800-\udfff])?$",
}
IPV4: dict[str, Any] = {"type": "string", "format": "ipv4"}
IPV6: dict[str, Any] = {"type": "string", "format": "ipv6"}
#: A guest's name for itself, from 2.90; from 2.94 with its domain.
HOST_NAME: dict[str, Any] = {"type": "string", "minLength": 2, "maxLength": 63, "pattern": r"^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$"}
FULL_HOST_NAME: dict[str, Any] = {
    "type": "string",
    "minLength": 2,
    "maxLength": 255,
    "pattern": r"^[a-zA-Z0-9]+[a-zA-Z0-9-.]*[a-zA-Z0-9]+$",
}
UUID: dict[str, Any] = {"type": "string", "format": "uuid"}
TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
#: At most ten digits: a database cannot count further than its integers.
COUNT: dict[str, Any] = {"type": ["integer", "string"], "pattern": "^[0-9]{1,10}$", "minLength": 1, "minimum": 0}


def number(least: int, most: int = 0x7FFFFFFF) -> dict[str, Any]:
    """Give the schema of a whole number from 0 or 1 on that a database can keep; it may come as a text of up to nine digits."""
    pattern = "^[0-9]{1,9}$" if least == 0 else "^(?=.*[1-9])[0-9]{1,9}$"
    return {"type": ["integer", "string"], "pattern": pattern, "minLength": 1, "minimum": least, "maximum": most}


def as_bool(value: object) -> bool:
    """Read what BOOLEAN let through."""
    return value is True or (isinstance(value, str) and value in _TRUE)


def action(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of an action's body: the one key that names it."""
    return {"type": "object", "properties": {name: payload}, "required": [name], "additionalProperties": False}


def payload(properties: dict[str, Any], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give the schema of an object that has these keys and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def single(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of a query parameter that may come once."""
    return {"type": "array", "items": schema, "maxItems": 1}


def several(schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of a query parameter that may come several times."""
    return {"type": "array", "items": schema}


def query(properties: dict[str, Any], *, is_strict: bool) -> dict[str, Any]:
    """Give the schema of a query; a lenient one drops what it does not know, as Nova's early versions do."""
    return {"type": "object", "properties": properties, "additionalProperties": not is_strict}
