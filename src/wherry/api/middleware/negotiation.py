# SPDX-License-Identifier: Apache-2.0
"""Finds the microversion of a request, or refuses it. What a version means is the route table's business."""

from __future__ import annotations

from starlette import types

from wherry.api import faults, microversions
from wherry.api import paths as api_paths
from wherry.api.middleware import exchange

_HEADER = b"openstack-api-version"
_LEGACY_HEADER = b"x-openstack-nova-api-version"


class Negotiation:
    """Leaves the version in the exchange, from where it is put on the answer, errors included."""

    def __init__(self, app: types.ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] == "http" and api_paths.has_microversions(scope["path"]):
            _negotiate(scope, exchange.of(scope))
        await self._app(scope, receive, send)


def _negotiate(scope: types.Scope, this: exchange.Exchange) -> None:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
    text = microversions.requested(values, exchange.header(scope, _LEGACY_HEADER))
    try:
        this.version = microversions.MINIMUM if text is None else microversions.parse(text)
    except microversions.Malformed as error:
        raise faults.bad_request(str(error)) from None
    except microversions.Unknown as error:
        # Nova's 406 carries the version that was asked for.
        this.version = error.version
        raise faults.HttpFault(406, str(error)) from None
