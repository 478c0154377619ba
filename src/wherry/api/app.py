# SPDX-License-Identifier: Apache-2.0
"""Assembles the application: layers around the dispatcher, in an order that has reasons. Serves nothing itself; see `service.py`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from starlette import applications, routing
from starlette import middleware as layers

from wherry.api import call as api_call
from wherry.api import dispatcher, routes
from wherry.api import routing as api_routing
from wherry.api.middleware import authentication, envelope, faults, image_service, login, negotiation, probes, request_log
from wherry.auth import login as auth_login
from wherry.auth import strategy as auth_strategy
from wherry.telemetry import health as wherry_health
from wherry.telemetry import metrics as wherry_metrics


def random_request_id() -> str:
    """Make the id of a request, in Nova's form."""
    return f"req-{uuid.uuid4()}"


def build(
    parts: api_call.Parts,
    strategy: auth_strategy.Strategy,
    *,
    metrics: wherry_metrics.Metrics | None = None,
    health: wherry_health.Health | None = None,
    new_request_id: Callable[[], str] = random_request_id,
) -> applications.Starlette:
    """Make the application.

    The order of the layers, outermost first, and why:

    1. probes: load balancers ask every second and have no token; neither log nor numbers should be full of them.
    2. envelope: everything further in may name the request id, and every answer, whoever makes it, carries it and the version.
    3. request log: sees the status that really goes out, so it is outside of what makes errors into answers.
    4. faults: nothing raised further in may pass it, so everything that can raise is inside.
    5. gate: while the process starts, nothing further in can work.
    6. login and images, under noauth: these routes have no microversions, and who asks them need have no token yet.
    7. negotiation: a version that is not served is refused whoever asks, and the errors of all that follows carry the version.
    8. authentication: before any path is looked up, so that without a token nothing can be learned but the version documents.
    9. dispatcher: path, version and body choose a route.
    """
    stack = [
        *([layers.Middleware(probes.Probes, health=health)] if health is not None else []),
        layers.Middleware(envelope.Envelope, new_request_id=new_request_id),
        layers.Middleware(request_log.RequestLog, clock=parts.clock, metrics=metrics),
        layers.Middleware(faults.Faults),
        *([layers.Middleware(probes.Gate, health=health)] if health is not None else []),
        *(_own_services(parts, strategy.login) if strategy.login is not None else []),
        layers.Middleware(negotiation.Negotiation),
        layers.Middleware(authentication.Authentication, strategy=strategy),
    ]
    innermost = routing.Mount("/", app=dispatcher.Dispatcher(api_routing.Table(routes.ROUTES), parts))
    # Its own has no ends of lines, which a path may name ("%0A"), and answers those itself, in words that no client of Nova knows.
    innermost.path_regex = re.compile(r"^/(?P<path>.*)\Z", re.DOTALL)
    return applications.Starlette(routes=[innermost], middleware=stack)


def _own_services(parts: api_call.Parts, known: auth_login.Login) -> list[layers.Middleware]:
    """Give the layers that answer for the services which clients look for beside this one."""
    return [layers.Middleware(login.LoginRoutes, login=known), layers.Middleware(image_service.ImageRoutes, images=parts.images)]
