# SPDX-License-Identifier: Apache-2.0
"""One Keystone for all tests of a session, and one Wherry that believes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.clients import service as services
from wherry.testing import keystone as keystones

CACHE_SECONDS = 1.0
WAIT_SECONDS = 10.0

#: Sections may stand twice; what stands later wins.
CONFIGURATION = """
[api]
auth_strategy = keystone
[agent]
default_project_id = {project}
[keystone]
auth_url = {url}
username = wherry
password = {password}
project_name = service
region_name = RegionOne
token_cache_seconds = {cache_seconds}
refused_token_cache_seconds = 0.2
validation_timeout_seconds = 10
request_timeout_seconds = 5
outage_pause_seconds = 0.2
"""


@dataclasses.dataclass
class Cloud:
    """Wherry and the Keystone that it believes."""

    keystone: keystones.Keystone
    service: services.Service
    http: httpx.Client

    def send(self, method: str, path: str, token: str | None, *, service_token: str | None = None, json: object = None) -> httpx.Response:
        """Send a request at a recent version."""
        headers = {"OpenStack-API-Version": "compute 2.100"}
        if token is not None:
            headers["X-Auth-Token"] = token
        if service_token is not None:
            headers["X-Service-Token"] = service_token
        return self.http.request(method, f"/v2.1{path}", headers=headers, json=json)

    def code(self, path: str, token: str | None, *, service_token: str | None = None) -> int:
        """Give the status of reading something."""
        return self.send("GET", path, token, service_token=service_token).status_code

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to become true."""
        self.service.until(condition, what)


@pytest.fixture(scope="session")
def keystone(tmp_path_factory: pytest.TempPathFactory, require_real: Callable[[str, str | None], None]) -> Iterator[keystones.Keystone]:
    """Keystone with its people."""
    require_real("Keystone", keystones.missing())
    started = keystones.Keystone(tmp_path_factory.mktemp("keystone"))
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def cloud(keystone: keystones.Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A service whose guests belong to the project "home"."""
    configuration = CONFIGURATION.format(
        url=keystone.url, password=keystones.PASSWORD, project=keystone.projects["home"], cache_seconds=CACHE_SECONDS
    )
    with services.running(tmp_path_factory.mktemp("with-keystone"), configuration, keystone.admin) as started:
        keystone.register("compute", "nova", started.compute)
        with httpx.Client(base_url=started.base, timeout=30.0) as http:
            yield Cloud(keystone=keystone, service=started, http=http)
