# SPDX-License-Identifier: Apache-2.0
"""The root of the one exception tree, its categories, and how an error crosses the bus.

Knows no HTTP, no SQL and no libvirt: those live in `api/faults.py`, `db/` and `drivers/libvirt/errors.py`.

To add an error: subclass the class that names its category, give it a new slug, a template whose `{fields}` are the keyword arguments,
and a remedy where the reader can do something. `api/faults.py` maps categories, so most errors need no line there.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar

#: What a field of an error may hold: it crosses the bus as JSON.
Field = str | int | float | bool | None | list[str]

_registry: dict[str, type[Error]] = {}


class Category(enum.StrEnum):
    """What kind of trouble it is; the API chooses the HTTP status from it."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    UNAVAILABLE = "unavailable"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class Error(Exception):
    """Root of every error that Wherry raises on purpose."""

    #: Stable name, shown to users and clients; never reused for another meaning.
    slug: ClassVar[str] = "error"
    category: ClassVar[Category] = Category.INTERNAL
    #: Message with `{field}` places, each filled from the keyword arguments.
    template: ClassVar[str] = "Something failed: {detail}"
    #: What the reader can do or send instead; may hold the same places.
    remedy_template: ClassVar[str] = ""
    #: Whether the same request may succeed later without anybody changing anything.
    retryable: ClassVar[bool] = False
    #: Traceback text of the process where it happened, for errors that nobody expected; never crosses the API.
    remote_traceback: str = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.slug in _registry:
            raise TypeError(f"the slug {cls.slug!r} of {cls.__name__} belongs to {_registry[cls.slug].__name__}")
        _registry[cls.slug] = cls

    def __init__(self, **fields: Field) -> None:
        self.fields: dict[str, Field] = fields
        super().__init__(self.template.format_map(_Quoted(fields)))

    @property
    def message(self) -> str:
        return str(self)

    @property
    def remedy(self) -> str:
        return self.remedy_template.format_map(_Quoted(self.fields))

    def to_wire(self) -> dict[str, Any]:
        """Give slug and fields, which is all that crosses the bus."""
        return {"slug": self.slug, "fields": self.fields}


def told(message: str, remedy: str) -> str:
    """Join what is wrong and what to do about it."""
    if not remedy:
        return message
    return f"{message} {remedy}" if message.endswith((".", "!", "?", ":")) else f"{message}. {remedy}"


class _Quoted(dict[str, Any]):
    """Fields for a template; a missing one shows as its name instead of hiding the first error behind a KeyError."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__({k: ", ".join(v) if isinstance(v, list) else v for k, v in fields.items()})

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def from_wire(wire: Mapping[str, Any]) -> Error:
    """Rebuild an error from its slug and fields; an unknown slug (a newer peer) becomes RemoteFailure."""
    cls = _registry.get(str(wire.get("slug", "")))
    fields = wire.get("fields") or {}
    if cls is None:
        return RemoteFailure(detail=f"{wire.get('slug')}: {fields}")
    return cls(**fields)


def known_slugs() -> dict[str, type[Error]]:
    """Give every slug with its class, for the totality tests and the reference page."""
    return dict(_registry)


class NotFound(Error):
    slug = "not_found"
    category = Category.NOT_FOUND
    template = "{what} {name} could not be found."


class Conflict(Error):
    slug = "conflict"
    category = Category.CONFLICT


class Invalid(Error):
    slug = "invalid"
    category = Category.INVALID


class Forbidden(Error):
    slug = "forbidden"
    category = Category.FORBIDDEN
    template = "Policy doesn't allow {rule} to be performed."


class Unauthenticated(Error):
    slug = "unauthenticated"
    category = Category.UNAUTHENTICATED
    template = "The request you have made requires authentication."


class Unavailable(Error):
    slug = "unavailable"
    category = Category.UNAVAILABLE
    retryable = True


class Unsupported(Error):
    slug = "unsupported"
    category = Category.UNSUPPORTED
    template = "{what} is not supported by the {driver} driver."


class Timeout(Error):
    slug = "timeout"
    category = Category.TIMEOUT
    template = "{what} did not answer within {seconds} s."
    retryable = True


class Internal(Error):
    slug = "internal"
    category = Category.INTERNAL


class RemoteFailure(Internal):
    slug = "remote_failure"
    template = "The other process failed: {detail}"
