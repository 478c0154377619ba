# SPDX-License-Identifier: Apache-2.0
"""What the layers know of one request and tell one another: kept in the ASGI scope, gone with the answer.

Nothing of it outlives the request.
"""

from __future__ import annotations

import dataclasses
from typing import cast

from starlette import types

from wherry.api import microversions
from wherry.auth import context

_KEY = "wherry.exchange"


@dataclasses.dataclass(kw_only=True, slots=True)
class Exchange:
    """One request and its answer, as far as they have come."""

    request_id: str
    #: The version that is applied; None before it is known, for a malformed one and for paths that have none.
    version: microversions.Microversion | None = None
    caller: context.RequestContext | None = None
    #: Template of the path that was matched, for logs and metrics.
    route: str = ""
    #: HTTP status that was sent; 0 before.
    code: int = 0


def begin(scope: types.Scope, request_id: str) -> Exchange:
    """Put a new one into the scope."""
    made = Exchange(request_id=request_id)
    scope[_KEY] = made
    return made


def of(scope: types.Scope) -> Exchange:
    """Find the one of this request."""
    return cast("Exchange", scope[_KEY])


def header(scope: types.Scope, name: bytes) -> str | None:
    """Give the last value of a header (name in lower case), or None."""
    found = None
    for key, value in scope["headers"]:
        if key == name:
            found = value.decode("latin-1")
    return found
