# SPDX-License-Identifier: Apache-2.0
"""nats-servers of our own: each on a free port, its files in a temporary directory, gone after the tests.

Debian: apt-get install nats-server.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop

from tests.integration.nats import servers
from wherry.config import bus as config_bus
from wherry.rpc.transports import nats


@pytest.fixture(scope="session")
def nats_program(require_real: Callable[[str, str | None], None]) -> str:
    """Find the program."""
    # Debian installs it where only root's PATH leads.
    found = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    require_real("NATS", None if found else "nats-server is not installed; on Debian: apt-get install nats-server")
    if found is None:
        raise LookupError("require_real let a missing server pass")
    return found


@pytest.fixture
def make_server(nats_program: str, tmp_path: pathlib.Path) -> Iterator[servers.MakeServer]:
    """Give a function that makes servers, which are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def make(configuration: str = "", environment: Mapping[str, str] | None = None) -> servers.Server:
            return stack.enter_context(servers.Server(nats_program, tmp_path, configuration, environment))

        yield make


@pytest.fixture
def server(make_server: servers.MakeServer) -> servers.Server:
    """Give one that lets everybody in."""
    return make_server()


@pytest.fixture(scope="module")
def shared_server(nats_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """Give one that lets everybody in, for tests that leave nothing behind."""
    with servers.Server(nats_program, tmp_path_factory.mktemp("nats")) as made:
        yield made


@pytest.fixture
async def join() -> AsyncIterator[servers.Join]:
    """Give a function that opens transports, which are closed after the test."""
    opened: list[nats.NatsTransport] = []

    async def join(
        section: config_bus.BusSection, inbox: str = "inbox.test", may_answer: servers.MayAnswer = lambda subject, reply: True
    ) -> nats.NatsTransport:
        transport = nats.NatsTransport(nats.settings_of(section), inbox=inbox, may_answer=may_answer)
        opened.append(transport)
        await transport.open()
        return transport

    yield join
    for transport in opened:
        await transport.close()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the loop that the programs run on; its streams and its TLS are not asyncio's own."""
    del config, item
    return {"uvloop": uvloop.new_event_loop}
