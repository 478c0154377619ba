# SPDX-License-Identifier: Apache-2.0
"""A Compute API of somebody else's, at the foreign edge: answers from a table, and remembers what it was asked.

Stands for Nova, which has no 2.1000, and for services that refuse or are away.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import requests
from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import noauth, session
from requests import adapters

from wherry.cli import compute

URL = "http://nova.test/v2.1"
VERSION_HEADER = "X-OpenStack-Nova-API-Version"

#: What an answer is made from: status and body, or the body alone of a 200.
Answer = tuple[int, Any] | dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    version: str | None
    body: Any = None


class Nova(adapters.BaseAdapter):
    """The service.

    :param answers: by "GET /path", a body, a status with a body, or a function of the request; what is not named is a 404.
    """

    def __init__(self, answers: Mapping[str, Answer | Callable[[Asked], Answer]], newest: str = "2.96") -> None:
        super().__init__()
        self.answers = dict(answers)
        self.asked: list[Asked] = []
        self.is_away = False
        self._newest = newest

    def api(self, pinned: str | None = None, project_id: str | None = None) -> compute.ComputeApi:
        """Give the client of this service."""
        transport = requests.Session()
        transport.mount("http://", self)
        auth = _Auth(endpoint=URL, project_id=project_id)
        made = session.Session(auth=auth, session=transport)
        return compute.ComputeApi(
            ksa_adapter.Adapter(made, service_type="compute", endpoint_override=URL, default_microversion=pinned, connect_retries=0)
        )

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer, as the transport's end."""
        if self.is_away:
            raise requests.exceptions.ConnectionError("refused")
        parts = urllib.parse.urlsplit(request.url or "")
        path = str(parts.path).removeprefix("/v2.1")
        asked = Asked(
            method=request.method or "",
            path=path,
            query=dict(urllib.parse.parse_qsl(str(parts.query))),
            version=_text(request.headers.get(VERSION_HEADER)),
            body=json.loads(request.body) if isinstance(request.body, str | bytes) else None,
        )
        if path in ("", "/"):
            return _response(request, 200, self._document())
        self.asked.append(asked)
        found = self.answers.get(
            f"{asked.method} {path}", (404, {"itemNotFound": {"code": 404, "message": "The resource could not be found."}})
        )
        answer = found(asked) if callable(found) else found
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return _response(request, status, body)

    def close(self) -> None:
        """Nothing is open."""

    def _document(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": f"{URL}/"}]
        return {"version": {"id": "v2.1", "status": "CURRENT", "version": self._newest, "min_version": "2.1", "links": links}}


class _Auth(noauth.NoAuth):
    """Nothing to log in to, but a project perhaps."""

    def __init__(self, endpoint: str, project_id: str | None) -> None:
        super().__init__(endpoint=endpoint)
        self._project_id = project_id

    def get_project_id(self, session: session.Session, **_: Any) -> str | None:
        return self._project_id


def _text(header: str | bytes | None) -> str | None:
    return header.decode() if isinstance(header, bytes) else header


def _response(request: requests.PreparedRequest, status: int, body: Any) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.url = request.url or ""
    made.request = request
    made.headers["Content-Type"] = "application/json"
    made.headers["x-openstack-request-id"] = "req-1"
    made._content = json.dumps(body).encode()
    return made
