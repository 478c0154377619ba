# SPDX-License-Identifier: Apache-2.0
"""Clients of the API: real requests through the whole application, in process, to whichever api lives.

Concludes nothing from an answer but what a client would.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import urllib.parse
from typing import Any

from wherry.testing.simulation import system as systems


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came back; code 0 when nothing did, because the api died or none lives."""

    code: int
    body: Any = None


class Clients:
    """Whoever asks. Each request goes to one of the apis, in turn."""

    def __init__(self, system: systems.System) -> None:
        self._system = system
        self._chance = system.chance.stream("clients")
        #: How many answers of each code there were.
        self.codes: dict[int, int] = {}

    async def ask(self, method: str, path: str, *, version: str = "2.90", body: Any = None) -> Answer:
        """Send one request."""
        apis = self._system.of_kind("api")
        answer = Answer(0)
        if apis:
            part = apis[self._chance.randrange(len(apis))]
            if part.application is not None:
                task = part.of.spawn(_request(part.application, method, path, version=version, body=body), f"request {method} {path}")
                await asyncio.wait([task])
                answer = Answer(0) if task.cancelled() else task.result()
        self.codes[answer.code] = self.codes.get(answer.code, 0) + 1
        detail = "" if answer.code < 400 or not isinstance(answer.body, dict) else json.dumps(answer.body)[:300]
        self._system.trace.note(f"client: {method} {path} {version} {json.dumps(body) if body else ''} -> {answer.code} {detail}")
        return answer

    async def act(self, name: str, body: dict[str, Any], *, version: str = "2.90") -> Answer:
        """Ask for an action of a server."""
        return await self.ask("POST", f"/v2.1/servers/{self._system.uuid(name)}/action", version=version, body=body)

    async def live_migrate(self, name: str, *, host: str | None = None, version: str = "2.90", **keys: Any) -> Answer:
        """Ask for a live migration, in the form that the version has."""
        number = tuple(map(int, version.split(".")))
        body: dict[str, Any] = {"host": host, "block_migration": "auto", **keys}
        if number < (2, 25):
            body = {"host": host, "block_migration": False, "disk_over_commit": False}
        return await self.act(name, {"os-migrateLive": body}, version=version)

    async def migrations_of(self, name: str) -> list[dict[str, Any]]:
        """List a server's migrations in progress."""
        answer = await self.ask("GET", f"/v2.1/servers/{self._system.uuid(name)}/migrations", version="2.1000")
        return answer.body["migrations"] if answer.code == 200 else []

    async def abort(self, name: str) -> None:
        """Abort what is under way."""
        for one in await self.migrations_of(name):
            await self.ask("DELETE", f"/v2.1/servers/{self._system.uuid(name)}/migrations/{one['id']}")

    async def steer(self, name: str, action: str) -> None:
        """Force what is under way to complete, resume its broken post-copy, or give it up."""
        for one in await self.migrations_of(name):
            path = f"/v2.1/servers/{self._system.uuid(name)}/migrations/{one['id']}/action"
            await self.ask("POST", path, version="2.90" if action == "force_complete" else "2.1000", body={action: None})


async def _request(application: systems.Application, method: str, path: str, *, version: str, body: Any) -> Answer:
    """Call an ASGI application as a server would."""
    data = b"" if body is None else json.dumps(body).encode()
    plain, _, query = path.partition("?")
    headers = [(b"host", b"wherry.test"), (b"x-openstack-nova-api-version", version.encode()), (b"content-length", str(len(data)).encode())]
    if data:
        headers.append((b"content-type", b"application/json"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": urllib.parse.unquote(plain),
        "raw_path": plain.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "server": ("wherry.test", 80),
    }
    waiting = [{"type": "http.request", "body": data, "more_body": False}]
    code, parts = 0, []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        # The client stays, however long the answer takes.
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never done

    async def send(message: Any) -> None:
        nonlocal code
        if message["type"] == "http.response.start":
            code = message["status"]
        else:
            parts.append(message.get("body", b""))

    await application(scope, receive, send)
    text = b"".join(parts)
    return Answer(code, json.loads(text) if text else None)
