# SPDX-License-Identifier: Apache-2.0
"""A nats-server as a thing that tests start, kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from wherry import errors
from wherry.config import bus as config_bus
from wherry.rpc.transports import base, nats

#: Whether an answer may go to where a message asks for it.
MayAnswer = Callable[[str, str], bool]

_START_SECONDS = 10.0
_HOST = "127.0.0.1"


class MakeServer(Protocol):
    """Starts a server with a configuration and an environment."""

    def __call__(self, configuration: str = "", environment: Mapping[str, str] | None = None) -> Server:
        """Start it."""


class Join(Protocol):
    """Opens a transport."""

    def __call__(
        self, section: config_bus.BusSection, inbox: str = "inbox.test", may_answer: MayAnswer = ...
    ) -> Awaitable[nats.NatsTransport]:
        """Open it."""


def free_port() -> int:
    """Give a port that is free now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def section(url: str, **options: Any) -> config_bus.BusSection:
    """Give a [bus] that leads to a server, quick to try again."""
    wanted: dict[str, Any] = {"transport_url": (url,), "reconnect_initial_seconds": 0.02, "reconnect_max_seconds": 0.1}
    return config_bus.BusSection(**(wanted | options))


def cluster(make_server: MakeServer, size: int, configuration: str = "") -> list[Server]:
    """Start servers that know of one another.

    :param configuration: lines for each of them.
    """
    ports = [free_port() for _ in range(size)]
    routes = ", ".join(f'"nats-route://{_HOST}:{port}"' for port in ports)
    return [
        make_server(f'cluster {{ name: "test", listen: "{_HOST}:{port}", routes: [{routes}] }}\nserver_name: "s{number}"\n{configuration}')
        for number, port in enumerate(ports)
    ]


async def until_meshed(members: Sequence[Server]) -> None:
    """Wait until what is published at any of them reaches subscribers at each."""
    transports = [nats.NatsTransport(nats.settings_of(one.section()), inbox=f"inbox.mesh{number}") for number, one in enumerate(members)]
    try:
        for number, transport in enumerate(transports):
            await transport.open()
            await transport.subscribe(f"mesh.{number}", _answer)
        for transport in transports:
            for number in range(len(members)):
                await until_answered(transport, f"mesh.{number}")
    finally:
        for transport in transports:
            await transport.close()


async def until_answered(transport: nats.NatsTransport, subject: str) -> bytes:
    """Ask until there is an answer, as whoever sends a report does."""
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                return await transport.request(subject, b"x", 0.5)
            except (base.NoResponders, base.NoAnswer, errors.BusUnavailable):
                await asyncio.sleep(0.01)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become so."""
    async with asyncio.timeout(_START_SECONDS):
        while not condition():  # noqa: ASYNC110 - what a transport shows has no event
            await asyncio.sleep(0.005)


async def _answer(_subject: str, data: bytes) -> bytes:
    return data


class Server:
    """A nats-server on a port of its own, which it keeps when it is started again.

    :param configuration: lines of its configuration file.
    """

    def __init__(
        self, program: str, directory: pathlib.Path, configuration: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self._environment = environment
        self._program = program
        self._file = directory / f"nats-{self.port}.conf"
        self._log = directory / f"nats-{self.port}.log"
        self._file.write_text(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"nats://{_HOST}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def section(self, **options: Any) -> config_bus.BusSection:
        """Give a [bus] that leads here, quick to try again."""
        return section(self.url, **options)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        arguments = [self._program, "-a", _HOST, "-p", str(self.port), "-c", str(self._file), "-l", str(self._log)]
        self._process = subprocess.Popen(arguments, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_listening():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                raise RuntimeError(f"nats-server did not start: {self._process.communicate()[1].decode()}{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"nats-server does not listen: {self.log}")

    def reload(self, configuration: str) -> None:
        """Give it another configuration while it runs."""
        self._file.write_text(configuration)
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order: its clients are told."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Have it do nothing, its connections open: as behind a cut link."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            # Its threads run on for a moment otherwise.
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(_START_SECONDS)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("it does not run")
        self._process.send_signal(number)

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((_HOST, self.port)) == 0
