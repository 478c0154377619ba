# SPDX-License-Identifier: Apache-2.0
"""What a route is, and how a path and a body find theirs. The routes themselves stand in `routes.py`."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from wherry.api import call as api_call
from wherry.api import faults, microversions, validation

Handler = Callable[[api_call.Call], Awaitable[Any]]
#: Makes the body from what the handler gave; pure.
View = Callable[[Any, api_call.Call], object]


#: Codes of errors that every route may answer: the version and the token come before any route, the database and bugs are everywhere.
COMMON_ERRORS = (400, 401, 403, 404, 406, 500, 503)
#: Those of a route that takes a body.
BODY_ERRORS = (413, 415)


class Concern(enum.Enum):
    """Whose project a route's rule is asked about, and so when."""

    #: The caller's own: asked before the handler runs.
    CALLER = "caller"
    #: The named server's: the handler asks once it has found it, because an unknown server is a 404 before it is a 403.
    SERVER = "server"
    #: The named server group's: likewise.
    GROUP = "group"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One row of the table: everything about one operation of the API."""

    method: str
    #: Behind the version prefix and the project: "/servers/{server_id}".
    path: str
    handler: Handler
    #: Name of the rule.
    policy: str
    concern: Concern = Concern.CALLER
    #: First and last version that has it, "2.1"; no last = still there.
    first: str = "2.1"
    last: str = ""
    #: For POST …/action: the key of the body that names it.
    action: str = ""
    query: validation.Schema | None = None
    body: validation.Schema | None = None
    #: None: the answer has no body.
    view: View | None = None
    status: int = 200
    #: Where what was made is, for the header Location; None: nothing was.
    location: Callable[[api_call.Call], str] | None = None
    #: Codes of errors beside COMMON_ERRORS, for the reference and OpenAPI.
    errors: tuple[int, ...] = ()
    #: One sentence, for the reference and OpenAPI.
    summary: str

    @property
    def name(self) -> str:
        """Give a name that no other route has, apart from other versions of the same."""
        return f"{self.method} {self.path}" + (f" ({self.action})" if self.action else "")

    @property
    def codes(self) -> tuple[int, ...]:
        """Every code that it can answer with, in order."""
        of_body = BODY_ERRORS if self.body is not None else ()
        return tuple(sorted({self.status, *self.errors, *of_body, *COMMON_ERRORS}))

    @property
    def versions(self) -> tuple[microversions.Microversion, microversions.Microversion]:
        return microversions.parse(self.first), microversions.parse(self.last) if self.last else microversions.MAXIMUM


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """All routes of one path, and what the path names."""

    path: str
    routes: Sequence[tuple[Route, microversions.Microversion, microversions.Microversion]]
    arguments: Mapping[str, str]
    #: Project named in the path; empty for none.
    project_id: str

    def takes_actions(self, method: str) -> bool:
        """Say whether the body of this method names an action."""
        return any(route.action for route, _, _ in self.routes if route.method == method)

    def require(self, method: str, version: microversions.Microversion) -> None:
        """Make sure that the path knows the method, in whichever version.

        :raises HttpFault: 405, with the methods that it knows in this one
        """
        if method not in {route.method for route, _, _ in self.routes}:
            allowed = ", ".join(sorted({route.method for route, first, last in self.routes if first <= version <= last}))
            raise faults.HttpFault(405, f"The method {method} is not allowed here. Use one of: {allowed}.", {"Allow": allowed})

    def choose(self, method: str, version: microversions.Microversion, action: str = "") -> Route:
        """Find the route of this method, action and version.

        :raises HttpFault: 405 when the path does not know the method, 404 when not in this version, 400 for an unknown action
        """
        self.require(method, version)
        candidates = [row for row in self.routes if row[0].method == method and row[0].action == action]
        if not candidates:
            raise faults.bad_request(f"There is no such action: {action}. Send one of: {', '.join(self.actions(method, version))}.")
        for route, first, last in candidates:
            if first <= version <= last:
                return route
        raise faults.not_found(_elsewhere(candidates, version))

    def actions(self, method: str, version: microversions.Microversion) -> list[str]:
        """Give the actions that a body of this method may name in this version."""
        found = {route.action for route, first, last in self.routes if route.method == method and first <= version <= last}
        return sorted(found - {""})


def _elsewhere(
    rows: Sequence[tuple[Route, microversions.Microversion, microversions.Microversion]], version: microversions.Microversion
) -> str:
    """Say in which versions there is what this one lacks."""
    later = [(first, route) for route, first, _ in rows if first > version]
    if later:
        first, route = min(later, key=lambda row: row[0])
        return f"{route.name} is there from microversion {first} on."
    last, route = max(((last, route) for route, _, last in rows), key=lambda row: row[0])
    return f"{route.name} is there up to microversion {last}."


@dataclasses.dataclass(slots=True)
class _Node:
    """One segment of the known paths."""

    literal: dict[str, _Node] = dataclasses.field(default_factory=dict)
    #: Name and node of a segment that stands for anything.
    parameter: tuple[str, _Node] | None = None
    path: str = ""
    routes: list[tuple[Route, microversions.Microversion, microversions.Microversion]] = dataclasses.field(default_factory=list)


class Table:
    """The routes as a tree of segments, made once."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path.strip("/").split("/"):
                node = _child(node, segment)
            node.path = route.path
            first, last = route.versions
            node.routes.append((route, first, last))

    def find(self, segments: Sequence[str]) -> Endpoint | None:
        """Find a path's routes. A first segment that is no resource is taken for a project, and the rest is looked for."""
        found = _walk(self._root, segments, {})
        if found is not None:
            node, arguments = found
            return Endpoint(path=node.path, routes=node.routes, arguments=arguments, project_id="")
        if len(segments) < 2 or segments[0] in self._root.literal:
            return None
        found = _walk(self._root, segments[1:], {})
        if found is None:
            return None
        node, arguments = found
        return Endpoint(path=node.path, routes=node.routes, arguments=arguments, project_id=segments[0])


def _child(node: _Node, segment: str) -> _Node:
    if not segment.startswith("{"):
        return node.literal.setdefault(segment, _Node())
    name = segment.strip("{}")
    if node.parameter is None:
        node.parameter = (name, _Node())
    if node.parameter[0] != name:
        raise ValueError(f"one place in a path has two names: {node.parameter[0]} and {name}")
    return node.parameter[1]


def _walk(node: _Node, segments: Sequence[str], arguments: dict[str, str]) -> tuple[_Node, dict[str, str]] | None:
    if not segments:
        return (node, arguments) if node.routes else None
    # A literal segment wins, but a dead end behind it does not hide a parameter: /servers/detail/migrations is about a server "detail".
    if segments[0] in node.literal:
        found = _walk(node.literal[segments[0]], segments[1:], arguments)
        if found is not None:
            return found
    if node.parameter is None:
        return None
    name, child = node.parameter
    return _walk(child, segments[1:], {**arguments, name: segments[0]})
