# SPDX-License-Identifier: Apache-2.0
"""What a handler and a view are given: one request, understood and authenticated, and the parts they may use.

Knows no HTTP beyond the addresses that answers link to.
"""

from __future__ import annotations

import dataclasses
import datetime
import urllib.parse
from collections.abc import Mapping

from wherry import clock as wherry_clock
from wherry import config, policies
from wherry.api import microversions, validation, waiting
from wherry.auth import context
from wherry.db import store as wherry_store
from wherry.images import base as images_base
from wherry.rpc import client as rpc_client


@dataclasses.dataclass(kw_only=True, slots=True)
class Parts:
    """What handlers work with; made once when the application is assembled."""

    #: Replaced on reload.
    config: config.Config
    clock: wherry_clock.Clock
    store: wherry_store.Store
    rpc: rpc_client.Client
    enforcer: policies.Enforcer
    waiting: waiting.Waiting
    images: images_base.ImageList


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """The parameters that the schema let through."""

    values: Mapping[str, list[str]]

    def one(self, name: str) -> str | None:
        """Give a parameter's last value, or None."""
        found = self.values.get(name)
        return found[-1] if found else None

    def all(self, name: str) -> list[str]:
        """Give every value of a parameter."""
        return self.values.get(name, [])

    def time(self, name: str) -> datetime.datetime | None:
        """Give a parameter that the schema has found to be a time."""
        text = self.one(name)
        return None if text is None else validation.read_time(text)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where the request was sent, for links in answers."""

    #: "http://host:port"
    base: str
    #: "/v2.1" or "/v2".
    prefix: str
    #: Path of the request behind the prefix and the project.
    path: str
    #: Project named in the path; empty when none is, and then links name none either, as in Nova.
    project_id: str = ""

    def self_link(self, path: str) -> str:
        """Give the versioned address of a resource."""
        return f"{self.base}{self.prefix}{self._project}{path}"

    def bookmark(self, path: str) -> str:
        """Give the unversioned address of a resource."""
        return f"{self.base}{self._project}{path}"

    def next_page(self, query: Mapping[str, list[str]], marker: str) -> str:
        """Give the address of the page that follows the marker."""
        pairs = [(name, value) for name, values in query.items() if name != "marker" for value in values]
        return f"{self.self_link(self.path)}?{urllib.parse.urlencode([*pairs, ('marker', marker)])}"

    @property
    def _project(self) -> str:
        return f"/{self.project_id}" if self.project_id else ""


@dataclasses.dataclass(kw_only=True, slots=True)
class Call:
    """One request about one route."""

    parts: Parts
    version: microversions.Microversion
    caller: context.RequestContext
    #: The route's rule.
    policy: str
    #: What the path names: {"server_id": …}.
    arguments: Mapping[str, str]
    query: Query
    #: The body, or what stands under the action's key.
    body: object
    address: Address
    #: Whether the route's rule has been asked; the dispatcher refuses to answer before.
    is_authorized: bool = False

    def authorize(self, project_id: str | None = None) -> None:
        """Hold the caller to the route's rule, for something of that project.

        :raises Forbidden: naming the rule
        """
        self.parts.enforcer.require(self.policy, self.caller, project_id)
        self.is_authorized = True

    def require(self, rule: str, project_id: str | None = None) -> None:
        """Hold the caller to a further rule.

        :raises Forbidden: naming the rule
        """
        self.parts.enforcer.require(rule, self.caller, project_id)

    def allows(self, rule: str, project_id: str | None = None) -> bool:
        """Say whether a rule lets the caller see or do more."""
        return self.parts.enforcer.allows(rule, self.caller, project_id)
