# SPDX-License-Identifier: Apache-2.0
"""One service for all tests of a session, ways to log in to it, and guests that no other test uses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.clients import running
from tests.clients import service as services


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    """The service, under noauth."""
    with services.running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="session")
def identity(service: services.Service) -> dict[str, str]:
    """The environment of an operator who logs in to the identity routes of noauth."""
    return {
        "OS_AUTH_URL": f"{service.base}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": "not checked",
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }


@pytest.fixture(scope="session")
def without_identity(service: services.Service) -> dict[str, str]:
    """The environment of one who names the endpoint and logs in to nothing."""
    return {
        "OS_AUTH_TYPE": "none",
        "OS_ENDPOINT": service.compute,
        "OS_IDENTITY_API_VERSION": "3",
        # Some commands make an identity client even if they have nothing to ask of it: it wants a version document.
        "OS_IDENTITY_ENDPOINT_OVERRIDE": f"{service.base}/v3",
    }


@pytest.fixture(scope="session")
def openstack(identity: dict[str, str]) -> running.Client:
    """Give openstackclient."""
    return running.openstack(identity)


@pytest.fixture(scope="session")
def nova(identity: dict[str, str]) -> running.Client:
    """Give novaclient's command."""
    return running.nova(identity)


@pytest.fixture(scope="session")
def next_idle() -> Callable[[], str]:
    """Give names of guests that move at once, each only once."""
    numbers = iter(range(1, services.IDLE + 1))
    return lambda: f"idle-{next(numbers)}"


@pytest.fixture
def idle(next_idle: Callable[[], str]) -> str:
    """The name of a guest that moves at once."""
    return next_idle()


@pytest.fixture(scope="session")
def _restless_numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def restless(_restless_numbers: Iterator[int], service: services.Service) -> Iterator[str]:
    """The name of a guest whose copy never ends by itself; what goes on with it is aborted after the test."""
    name = f"restless-{next(_restless_numbers)}"
    yield name
    server_id = service.id_of(name)
    for migration in service.get(f"/servers/{server_id}/migrations")["migrations"]:
        service.request("DELETE", f"/servers/{server_id}/migrations/{migration['id']}", headers={"OpenStack-API-Version": "compute 2.104"})


@pytest.fixture
def elsewhere(service: services.Service) -> Callable[[str], str]:
    """Give a host that a guest of h1 or h2 is not on."""
    return lambda name: "h2" if service.host_of(name) == "h1" else "h1"
