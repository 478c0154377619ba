# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.waiting`: what clients that wait for checks (microversions below 2.34) hold, and what they cost the others.

The API's application is called in this process, without sockets, so that only its own work is measured. The conductor takes each call and
answers none: everybody waits until told otherwise. Each client waits for a server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import psutil

from benchmarks import machine
from wherry import clock as clocks
from wherry import config
from wherry.api import service
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import hosts as host_rows
from wherry.db.repositories import servers as server_rows
from wherry.model import capabilities, host, operation, server, states
from wherry.rpc import addresses, messages
from wherry.rpc import client as rpc_client
from wherry.rpc import server as rpc_server
from wherry.rpc.transports import memory

T = TypeVar("T")

RESULTS = pathlib.Path("benchmarks/results")
BLOCKING, ASYNCHRONOUS = "2.30", "2.34"
#: Rows of one INSERT: SQLite takes 32,766 values at once.
_CHUNK = 1000
_GATHER_SECONDS = 300.0
#: How many are sent home at the end, to see that they really were waiting.
_ANSWERED = 50


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one run showed. `before` is with nobody waiting."""

    clients: int
    threads_before: int
    threads_during: int
    descriptors_before: int
    descriptors_during: int
    #: Most database connections in use at one time while all wait and nobody else asks anything.
    connections_waiting: int
    #: The same while others are answered.
    connections_during: int
    #: Times of asynchronous answers, in milliseconds.
    before_ms: Sequence[float]
    during_ms: Sequence[float]
    memory_kib_per_client: float
    #: Codes that those were answered with who were sent home.
    codes: Sequence[int]

    @property
    def ratio(self) -> float:
        """Give how much longer an asynchronous answer takes beside the waiting clients."""
        return statistics.median(self.during_ms) / statistics.median(self.before_ms)


class CountingStore(stores.Store):
    """The store, counting how many units of work are in progress, each on a connection of its own."""

    in_use = 0
    most_in_use = 0

    async def _run(self, unit: Callable[[uows.UnitOfWork], Awaitable[T]], *, is_writing: bool) -> T:
        self.in_use += 1
        self.most_in_use = max(self.most_in_use, self.in_use)
        try:
            return await super()._run(unit, is_writing=is_writing)
        finally:
            self.in_use -= 1


class Crowd:
    """One API with its surroundings, and clients of it."""

    def __init__(self, directory: pathlib.Path, database: Mapping[str, Any] | None = None) -> None:
        overrides: dict[str, Mapping[str, Any]] = {
            "DEFAULT": {"host": "bench", "state_path": str(directory)},
            "api": {"blocking_request_timeout_seconds": "3600"},
        }
        if database:
            overrides["database"] = database
        self._settings = config.load([], {}, overrides)
        self._clock = clocks.LoopClock()
        self._tasks: list[asyncio.Task[int]] = []
        self._numbers = iter(range(10**9))

    async def __aenter__(self) -> Crowd:
        self.store = CountingStore(stores.engine_for(self._settings.database), self._settings.database, self._clock)
        await self.store.upgrade()
        bus = memory.MemoryBus()
        ours, theirs = memory.MemoryTransport(bus), memory.MemoryTransport(bus)
        await ours.open()
        await theirs.open()
        self._conductor = rpc_server.Server(theirs, addresses.conductor(), drain_seconds=0.0)
        self._conductor.register(messages.MigrateServer, _never_answer)
        self._conductor.register(messages.LiveMigrateServer, _look_away)
        await self._conductor.start()
        sender = addresses.Sender(addresses.Role.API, "bench")
        client = rpc_client.Client(ours, sender, timeout_seconds=3600.0, clock=self._clock)
        self.api = service.Api(self._settings, self.store, client, clock=self._clock)
        await self.store.run(_register_host)
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.api.stop()
        await self._conductor.stop()
        await self.store.close()

    async def measure(self, clients: int, requests: int) -> Measured:
        """Let clients wait, and answer others before and meanwhile."""
        process = psutil.Process()
        servers = await self._servers(clients + 2 * requests + 1)
        await self._accept(servers[-1:])
        before_ms = await self._accept(servers[:requests])
        threads, descriptors, memory_before = process.num_threads(), process.num_fds(), process.memory_info().rss
        await self._gather(servers[2 * requests : 2 * requests + clients])
        memory_during = process.memory_info().rss
        self.store.most_in_use = 0
        await asyncio.sleep(3 * self._settings.api.blocking_poll_interval_seconds)
        waiting = self.store.most_in_use
        during_ms = await self._accept(servers[requests : 2 * requests])
        return Measured(
            clients=clients,
            threads_before=threads,
            threads_during=process.num_threads(),
            descriptors_before=descriptors,
            descriptors_during=process.num_fds(),
            connections_waiting=waiting,
            connections_during=self.store.most_in_use,
            before_ms=before_ms,
            during_ms=during_ms,
            memory_kib_per_client=round((memory_during - memory_before) / 1024 / clients, 1),
            codes=await self._send_home(servers[2 * requests : 2 * requests + clients][:_ANSWERED]),
        )

    async def _servers(self, count: int) -> list[str]:
        new = [_new_server(next(self._numbers)) for _ in range(count)]
        for start in range(0, count, _CHUNK):
            part = new[start : start + _CHUNK]
            await self.store.run(lambda uow, part=part: uow.servers.insert_all(part))  # type: ignore[misc]  # bound at once
        return [one.uuid for one in new]

    async def _accept(self, servers: Sequence[str]) -> list[float]:
        """Ask for migrations that nobody waits for, one after the other; give the times of the answers in milliseconds."""
        times = []
        for uuid in servers:
            started = time.perf_counter()
            code = await self._migrate(uuid, ASYNCHRONOUS)
            times.append((time.perf_counter() - started) * 1000)
            if code != 202:
                raise RuntimeError(f"an asynchronous request was answered with {code}")
            # Polls of the waiting clients fall between and into the requests as they come.
            await asyncio.sleep(0.005)
        return times

    async def _gather(self, servers: Sequence[str]) -> None:
        self._tasks = [asyncio.create_task(self._migrate(uuid, BLOCKING)) for uuid in servers]
        async with asyncio.timeout(_GATHER_SECONDS):
            while self.api.parts.waiting.count() < len(servers):  # noqa: ASYNC110 - the API tells nobody that a client waits
                await asyncio.sleep(0.05)

    async def _send_home(self, servers: Sequence[str]) -> list[int]:
        for uuid in servers:
            await self.store.run(lambda uow, uuid=uuid: _pass_checks(uow, uuid))  # type: ignore[misc]  # bound at once
        return list(await asyncio.gather(*self._tasks[: len(servers)]))

    async def _migrate(self, uuid: str, version: str) -> int:
        """Send a request to the application as a server would, and give the answer's code."""
        body = json.dumps({"os-migrateLive": {"host": None, "block_migration": "auto"}}).encode()
        headers = [(b"host", b"bench"), (b"content-type", b"application/json"), (b"x-openstack-nova-api-version", version.encode())]
        path = f"/v2.1/servers/{uuid}/action"
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        scope |= {"http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0"}, "server": ("bench", 80), "root_path": ""}
        codes: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])

        await self.api.application(scope, receive, send)
        return codes[0]


async def _never_answer(_sender: str, _message: messages.MigrateServer) -> messages.ChecksAnswer:
    await asyncio.Event().wait()
    return messages.ChecksAnswer()


async def _look_away(_sender: str, _message: messages.LiveMigrateServer) -> None:
    return None


async def _register_host(uow: uows.UnitOfWork) -> None:
    description = host.HostDescription(
        hypervisor_uuid="00000000-0000-4000-8000-000000000000",
        hypervisor_hostname="h1",
        hypervisor_type="QEMU",
        hypervisor_version=7_002_000,
        capabilities=capabilities.DriverCapabilities(live_migration=True),
    )
    await uow.hosts.register(host_rows.Registration(name="h1", incarnation="1", description=description), 60.0)


def _new_server(number: int) -> server_rows.NewServer:
    return server_rows.NewServer(
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        name=f"server-{number}",
        project_id="admin",
        user_id="admin",
        host="h1",
        node="h1",
        vm_state=server.VmState.ACTIVE,
        power_state=server.PowerState.RUNNING,
        memory_mib=512,
        vcpus=1,
    )


async def _pass_checks(uow: uows.UnitOfWork, uuid: str) -> None:
    await uow.conductors.renew("bench", "bench", 60.0)
    found = await uow.operations.open_of_instance(uuid)
    claimed = await uow.operations.claim(found.id, "bench") if found is not None else None
    if claimed is None:
        raise RuntimeError(f"server {uuid} has no operation to drive")
    await uow.operations.advance(claimed, operation.Transition(event=states.Event.CHECKS_PASSED))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep the result; 1 if the waiting clients hold a thread or a connection each, or slow the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000, help="how many wait (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=500, help="asynchronous requests before and meanwhile (default: %(default)s)")
    parser.add_argument("--database", default="", help="address of an empty database (default: a file of SQLite's)")
    parser.add_argument("--output", type=pathlib.Path, help=f"where the JSON goes (default: {RESULTS}/waiting-TIME.json)")
    options = parser.parse_args(argv)

    async def run() -> Measured:
        with tempfile.TemporaryDirectory() as directory:
            async with Crowd(pathlib.Path(directory), {"connection": options.database} if options.database else None) as crowd:
                return await crowd.measure(options.clients, options.requests)

    measured = asyncio.run(run())
    for line in report(measured):
        print(line)
    content = {"machine": machine.facts(), "ratio": measured.ratio, **dataclasses.asdict(measured)}
    output = options.output or RESULTS / f"waiting-{time.strftime('%Y%m%d-%H%M%S')}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n")
    return 0 if is_good(measured) else 1


def report(measured: Measured) -> list[str]:
    """Say it in lines."""

    def quantiles(times: Sequence[float]) -> str:
        ordered = sorted(times)
        return f"median {statistics.median(ordered):.2f} ms, 99 % within {ordered[int(len(ordered) * 0.99) - 1]:.2f} ms"

    return [
        f"{measured.clients} clients wait, {measured.memory_kib_per_client:g} KiB each",
        f"threads: {measured.threads_before} before, {measured.threads_during} meanwhile",
        f"file descriptors: {measured.descriptors_before} before, {measured.descriptors_during} meanwhile",
        f"database connections in use: {measured.connections_waiting} by who waits, {measured.connections_during} with others",
        f"asynchronous answers before: {quantiles(measured.before_ms)}",
        f"asynchronous answers meanwhile: {quantiles(measured.during_ms)}, {measured.ratio:.2f} times the median",
    ]


#: How much longer an asynchronous answer may take beside them.
MAX_RATIO = 2.0


def is_good(measured: Measured) -> bool:
    """Say whether the waiting clients hold nothing and slow nobody."""
    return (
        measured.threads_during == measured.threads_before
        and measured.connections_waiting <= 1
        and measured.ratio <= MAX_RATIO
        and set(measured.codes) == {202}
    )


if __name__ == "__main__":
    sys.exit(main())
