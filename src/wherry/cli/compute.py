# SPDX-License-Identifier: Apache-2.0
"""The Compute API as these commands use it: negotiate a microversion, send, and turn a refusal into one clear sentence.

Knows paths and fields; decides nothing about migrations.
"""

from __future__ import annotations

import datetime
import email.utils
import re
import uuid
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import adapter, discover
from keystoneauth1 import exceptions as ksa_exceptions
from osc_lib import exceptions

Version = tuple[int, int]

#: The newest of Nova's versions that these commands understand, and Wherry's own.
KNOWN: Version = (2, 104)
OWN: Version = (2, 1000)
#: Below it a live migration has another body.
OLDEST: Version = (2, 25)

#: A service that cannot be reached for the moment, and the answers of a proxy in front of one.
UNREACHABLE = (ksa_exceptions.ConnectFailure, ksa_exceptions.ConnectTimeout, ksa_exceptions.RetriableConnectionFailure)
_AWAY = (502, 503, 504)


class Refused(exceptions.CommandError):  # type: ignore[misc, unused-ignore]  # osc-lib has types since 4.2 only
    """The service said no; the text is for the user."""

    def __init__(self, doing: str, code: int, message: str, request_id: str | None) -> None:
        told = message.rstrip(". ") or f"HTTP status {code}"
        super().__init__(f"{doing}: {told}. (HTTP {code}{f', {request_id}' if request_id else ''})")
        self.code = code
        #: What the service said.
        self.message = message
        self.request_id = request_id


class Away(exceptions.CommandError):  # type: ignore[misc, unused-ignore]  # osc-lib has types since 4.2 only
    """The service cannot be reached for the moment; asking again may help."""


class ComputeApi:
    """The service at the end of a session.

    :param proxy: openstacksdk's compute proxy, or any adapter for the service type compute.
    """

    def __init__(self, proxy: adapter.Adapter) -> None:
        self._proxy = proxy
        self._newest: Version | None = None
        self._ahead = datetime.timedelta()

    # ------------------------------------------------------------- versions

    @property
    def newest(self) -> Version:
        """The newest version that the service offers, or the one that the user pinned.

        :raises CommandError: it offers none.
        """
        if self._newest is None:
            pinned = self._proxy.default_microversion
            offered = _normal(pinned) if pinned and "latest" not in pinned else self._offered()
            if offered < OLDEST:
                raise exceptions.CommandError(
                    f"These commands need microversion {text(OLDEST)} of the Compute API, and {text(offered)} is the newest here. "
                    "Use `openstack server migrate --live-migration`."
                )
            self._newest = offered
        return self._newest

    @property
    def nova(self) -> Version:
        """The newest version of Nova's that both sides know."""
        return min(self.newest, KNOWN)

    @property
    def best(self) -> Version:
        """Wherry's own version where the service has it, Nova's newest elsewhere."""
        return OWN if self.newest >= OWN else self.nova

    def _offered(self) -> Version:
        data = self._proxy.get_endpoint_data()
        if data is None or not data.max_microversion:
            raise exceptions.CommandError(
                f"{data.url if data else 'The Compute endpoint'} names no microversions. Check the endpoint: its version document "
                "(GET without a token) must tell them."
            )
        return _normal(data.max_microversion)

    # ------------------------------------------------------------- requests

    def get(self, doing: str, path: str, params: Mapping[str, Any] | None = None, *, version: Version | None = None) -> dict[str, Any]:
        """Read.

        :param doing: what the user is told was tried, "Showing …"
        :raises Refused: the service said no.
        :raises Away: it cannot be reached.
        """
        asked = {key: value for key, value in (params or {}).items() if value is not None}
        response = self._send(doing, "GET", path, version or self.nova, params=asked)
        content: dict[str, Any] = response.json()
        return content

    def post(self, doing: str, path: str, body: Mapping[str, Any], *, version: Version | None = None) -> str:
        """Ask for something; gives the request id.

        :raises Refused: the service said no.
        :raises Away: it cannot be reached.
        """
        return _request_id(self._send(doing, "POST", path, version or self.nova, json=body)) or ""

    def ask(self, doing: str, path: str, body: Mapping[str, Any], *, version: Version | None = None) -> dict[str, Any]:
        """Ask a question that has a body; gives the answer.

        :raises Refused: the service said no.
        :raises Away: it cannot be reached.
        """
        content: dict[str, Any] = self._send(doing, "POST", path, version or self.nova, json=body).json()
        return content

    def delete(self, doing: str, path: str, *, version: Version | None = None) -> str:
        """Take away; gives the request id.

        :raises Refused: the service said no.
        :raises Away: it cannot be reached.
        """
        return _request_id(self._send(doing, "DELETE", path, version or self.nova)) or ""

    @property
    def now(self) -> datetime.datetime:
        """The time by the service's clock, as its last answer told it."""
        return datetime.datetime.now(datetime.UTC) + self._ahead

    @property
    def project_id(self) -> str | None:
        """The project that the session is for."""
        found: str | None = self._proxy.get_project_id()
        return found

    def _send(self, doing: str, method: str, path: str, version: Version, **more: Any) -> Any:
        try:
            response = self._proxy.request(path, method, microversion=text(version), raise_exc=False, **more)
        except UNREACHABLE as error:
            raise Away(f"{doing}: {error}") from error
        self._look_at_clock(response)
        if response.status_code in _AWAY:
            raise Away(str(Refused(doing, response.status_code, _fault(response), _request_id(response))))
        if response.status_code >= 400:
            raise Refused(doing, response.status_code, _fault(response), _request_id(response))
        return response

    def _look_at_clock(self, response: Any) -> None:
        try:
            told = email.utils.parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        ahead = told - datetime.datetime.now(datetime.UTC)
        # The header has whole seconds: less is no difference.
        self._ahead = ahead if abs(ahead) > datetime.timedelta(seconds=2) else datetime.timedelta()

    # -------------------------------------------------------------- servers

    def find_server(self, named: str) -> tuple[str, str]:
        """Find a server by its id or its name; gives id and name.

        The caller's own project is searched first, then, where the caller may, all.

        :raises CommandError: there is none, or there are several.
        """
        if is_uuid(named):
            server = self.get(f"Finding server {named}", f"/servers/{named}")["server"]
            return server["id"], server["name"]
        found = self._named(named)
        if not found:
            try:
                found = self._named(named, all_tenants="1")
            except Refused as refusal:
                if refusal.code != 403:
                    raise
        if not found:
            raise exceptions.CommandError(f"No server is called {named}. Name one that `openstack server list` shows, or give its id.")
        if len(found) > 1:
            ids = ", ".join(sorted(server["id"] for server in found))
            raise exceptions.CommandError(f"{len(found)} servers are called {named}. Give the id of one: {ids}.")
        return found[0]["id"], found[0]["name"]

    def _named(self, name: str, **more: str) -> list[dict[str, Any]]:
        # The filter is a regular expression in the dialect of whichever database: it only narrows, the comparison decides.
        pattern = re.sub(r"[^A-Za-z0-9_-]", ".", name)
        servers = self.get(f"Finding server {name}", "/servers", {"name": f"^{pattern}$", **more})["servers"]
        return [server for server in servers if server["name"] == name]

    def servers_on(self, host: str) -> list[tuple[str, str]]:
        """Give id and name of the servers on a host, page by page.

        :raises Refused: the caller may not see hosts, or all projects.
        """
        found: list[tuple[str, str]] = []
        marker = None
        while True:
            page = self.get(f"Listing the servers on {host}", "/servers", {"host": host, "all_tenants": "1", "marker": marker})
            found += [(server["id"], server["name"]) for server in page["servers"]]
            if not page.get("servers_links") or not page["servers"]:
                return found
            marker = page["servers"][-1]["id"]

    def require_host(self, host: str) -> None:
        """Let a host pass that has a compute service.

        :raises CommandError: it has none; most likely its name is misspelt
        """
        if not self.get(f"Looking for {host}", "/os-services", {"host": host, "binary": "nova-compute"})["services"]:
            raise exceptions.CommandError(
                f"There is no host {host}. The command 'openstack compute service list' names those that there are."
            )


def text(version: Version) -> str:
    """Write a version as the wire has it."""
    return f"{version[0]}.{version[1]}"


def is_uuid(named: str) -> bool:
    """Say whether something is written as an id of a server or a migration."""
    try:
        return str(uuid.UUID(named)) == named.lower()
    except ValueError:
        return False


def _normal(version: Any) -> Version:
    try:
        major, minor, *_ = discover.normalize_version_number(version)
    except (TypeError, ValueError) as error:
        raise exceptions.CommandError(f"{version} is no microversion. Write it as 2.104, or leave it out.") from error
    return int(major), int(minor)


def _request_id(response: Any) -> str | None:
    found: str | None = response.headers.get("x-openstack-request-id")
    return found


def _fault(response: Any) -> str:
    """Find what the service says: {"badRequest": {"message": …}}, or {"error": {"message": …}} of identity, or plain text."""
    try:
        body = response.json()
    except ValueError:
        return str(response.reason or "")
    for fault in body.values() if isinstance(body, dict) else ():
        if isinstance(fault, dict) and fault.get("message"):
            return str(fault["message"])
    return str(response.reason or "")
