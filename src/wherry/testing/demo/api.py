# SPDX-License-Identifier: Apache-2.0
"""A small client of the Compute API that remembers how long each answer took.

Must not hide what it sends: the demo prints it.
"""

from __future__ import annotations

import dataclasses
import time
import types
import typing
from collections.abc import Mapping
from typing import Any

import httpx

from wherry.testing.demo import errors, records

#: The first version whose live migrations are answered at once.
ASYNCHRONOUS = "2.34"
#: The last one at which the answer waits for the checks; the version that openstackclient sends.
BLOCKING = "2.30"
#: Where the demo reads: Nova's last.
READ = "2.104"
#: Wherry's own: takes a deadline with a request; shows migrations that have ended, and why.
OWN = "2.1000"

REQUEST_TIMEOUT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int
    request_id: str
    body: Any
    #: From sending the request to having read the answer.
    seconds: float


class ComputeApi:
    """One connection to the API."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: types.TracebackType | None) -> None:
        self._http.close()

    def send(self, method: str, path: str, version: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send one request, whatever the answer."""
        begun = time.perf_counter()
        try:
            response = self._http.request(method, path, json=body, headers={"OpenStack-API-Version": f"compute {version}"})
        except httpx.HTTPError as problem:
            raise errors.DemoFailed(f"{method} {self.url}{path} was not answered: {str(problem) or type(problem).__name__}") from None
        seconds = time.perf_counter() - begun
        return Answer(
            status=response.status_code,
            request_id=response.headers.get("x-openstack-request-id", ""),
            body=response.json() if response.content else None,
            seconds=seconds,
        )

    def get(self, path: str, version: str = READ) -> Any:
        """Read; anything but 200 ends the demo."""
        answer = self.send("GET", path, version)
        if answer.status != 200:
            raise errors.DemoFailed(f"GET {path} at {version} was answered with {answer.status}: {answer.body}")
        return answer.body

    def is_answering(self) -> bool:
        """Whether anybody listens there."""
        try:
            return self._http.get("/").status_code == 200
        except httpx.HTTPError:
            return False

    # ---------------------------------------------------------------- what the demo asks

    def hosts_up(self) -> list[str]:
        """Name the hosts whose agent is up."""
        found = self.get("/v2.1/os-services?binary=nova-compute")["services"]
        return sorted(one["host"] for one in found if one["state"] == "up")

    def servers(self) -> dict[str, records.Server]:
        """Give all servers by name."""
        found = self.get("/v2.1/servers/detail?all_tenants=True")["servers"]
        return {one["name"]: records.server_of(one) for one in found}

    def server(self, server_id: str) -> records.Server:
        """Give one server."""
        return records.server_of(self.get(f"/v2.1/servers/{server_id}")["server"])

    def live_migrate(self, server_id: str, version: str, body: Mapping[str, Any]) -> Answer:
        """Ask for a live migration."""
        return self.send("POST", action_path(server_id), version, body)

    def migrations_in_progress(self, server_id: str) -> list[records.Migration]:
        """List what GET /servers/{id}/migrations shows."""
        return [records.migration_of(one) for one in self.get(f"/v2.1/servers/{server_id}/migrations")["migrations"]]

    def migration(self, server_id: str, migration_id: int) -> records.Migration:
        """Show a migration, also one that has ended."""
        return records.migration_of(self.get(f"/v2.1/servers/{server_id}/migrations/{migration_id}", OWN)["migration"])

    def abort(self, server_id: str, migration_id: int) -> Answer:
        """Ask for the end of a migration."""
        return self.send("DELETE", f"/v2.1/servers/{server_id}/migrations/{migration_id}", READ)

    def events(self, server_id: str, request_id: str) -> list[records.Event]:
        """Give the events of the action that this request began, the first one first."""
        action = self.get(f"/v2.1/servers/{server_id}/os-instance-actions/{request_id}")["instanceAction"]
        return records.events_of(action["events"])


def action_path(server_id: str) -> str:
    """Where actions of a server are posted."""
    return f"/v2.1/servers/{server_id}/action"


def live_migration_body(host: str | None = None, **own: Any) -> dict[str, Any]:
    """Give the body of a live migration as openstackclient sends it, and the keys that are Wherry's own."""
    return {"os-migrateLive": {"host": host, "block_migration": "auto", **own}}
