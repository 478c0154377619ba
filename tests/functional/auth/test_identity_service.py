# SPDX-License-Identifier: Apache-2.0
"""What is made of answers that a Keystone in good health does not give. Good health is tested with a real one."""

from __future__ import annotations

import dataclasses
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wherry import config
from wherry.auth import identity_service


@dataclasses.dataclass
class Stub:
    """Lets Wherry log in, and answers validations as a test wants."""

    url: str = ""
    status: int = 200
    body: str = "{}"


def token_of(user: str, project: str, role: str, **more: Any) -> dict[str, Any]:
    """Keystone's description of a token."""
    domain = {"id": "default", "name": "Default"}
    described = {
        "methods": ["password"],
        "user": {"id": user, "name": user, "domain": domain},
        "project": {"id": project, "name": project, "domain": domain},
        "roles": [{"id": role, "name": role}],
        "issued_at": "2030-01-01T00:00:00.000000Z",
        "expires_at": "2040-01-01T00:00:00.000000Z",
    }
    return {"token": {**described, **more}}


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/v3/auth/tokens"):
                self._answer(made.status, made.body)
            else:
                self._answer(
                    200, json.dumps({"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": made.url}]}})
                )

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            endpoint = {"id": "e", "interface": "internal", "region": "R", "region_id": "R", "url": made.url}
            catalog = [{"id": "i", "type": "identity", "name": "keystone", "endpoints": [endpoint]}]
            self._answer(201, json.dumps(token_of("us", "service", "service", catalog=catalog)), {"X-Subject-Token": "ours"})

        def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def service(stub: Stub) -> Iterator[identity_service.IdentityService]:
    made = identity_service.IdentityService(config.KeystoneSection(auth_url=stub.url, username="wherry", password="secret"))
    yield made
    made.close()


def test_a_token_is_read(stub: Stub, service: identity_service.IdentityService) -> None:
    stub.body = json.dumps(token_of("u1", "p1", "reader"))
    facts = service.validate("t", may_be_expired=False)
    assert facts is not None
    assert (facts.user_id, facts.project_id, facts.roles, facts.scope) == (
        "u1",
        "p1",
        frozenset({"reader"}),
        identity_service.Scope.PROJECT,
    )
    assert facts.expires_at.tzinfo is not None


def test_keystones_404_refuses_the_token(stub: Stub, service: identity_service.IdentityService) -> None:
    stub.status, stub.body = 404, json.dumps({"error": {"code": 404, "title": "Not Found", "message": "Failed to validate token"}})
    assert service.validate("t", may_be_expired=False) is None


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        # A proxy that knows no such path must not end everybody's session.
        (404, "<html>not here</html>", "is [keystone] auth_url right?"),
        (404, "{}", "is [keystone] auth_url right?"),
        (401, "{}", "does not take our own credentials"),
        (403, "{}", "give it the role service"),
        (500, "{}", "500"),
        (503, "{}", "503"),
        (200, "<html>hello</html>", "cannot be read"),
        (200, "{}", "cannot be read"),
        (200, '{"token": {"user": {}}}', "cannot be read"),
    ],
)
def test_any_other_answer_says_nothing_about_the_token(
    stub: Stub, service: identity_service.IdentityService, status: int, body: str, why: str
) -> None:
    stub.status, stub.body = status, body
    with pytest.raises(identity_service.Unanswered) as caught:
        service.validate("t", may_be_expired=False)
    assert why in str(caught.value)
    assert "secret" not in str(caught.value)
