# SPDX-License-Identifier: Apache-2.0
"""Passes TCP connections on, each byte a fixed time later: a far-away host on a kernel without netem.

Must not import anything outside the standard library: it runs as a file of its own, in isolated mode.

The argument is a JSON file: a list of {"listen": [address, port], "connect": [address, port], "delay_ms": round trip}. SIGHUP reads
it again; new delays hold for bytes that arrive from then on, also on open connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import signal
import sys

CHUNK_BYTES = 65536
Key = tuple[str, int]


@dataclasses.dataclass
class Route:
    """One listening address and where it leads."""

    listen: Key
    connect: Key
    #: Added to each direction, in seconds: half the round trip.
    delay_seconds: float


class Relay:
    """All routes of a lab."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.routes: dict[Key, Route] = {}
        self.servers: list[asyncio.Server] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Take over the delays of known routes and open new ones."""
        for item in json.loads(self.path.read_text()):
            listen, delay_seconds = (item["listen"][0], item["listen"][1]), item["delay_ms"] / 2000
            if listen in self.routes:
                self.routes[listen].delay_seconds = delay_seconds
                continue
            route = self.routes[listen] = Route(listen, (item["connect"][0], item["connect"][1]), delay_seconds)
            self.servers.append(await asyncio.start_server(functools.partial(self.serve, route), *listen))

    async def serve(self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*route.connect)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(route, reader, far_writer), copy(route, far_reader, writer))
        for each in (writer, far_writer):
            each.close()

    def reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self.load())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def copy(route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass one direction on until its end, in order."""
    loop = asyncio.get_running_loop()
    due, ended = 0.0, loop.create_future()

    def finish() -> None:
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
        ended.set_result(None)

    while True:
        try:
            data = await reader.read(CHUNK_BYTES)
        except OSError:
            data = b""
        # Strictly later than the one before, so that a shortened delay cannot reorder the bytes.
        due = max(loop.time() + route.delay_seconds, due + 1e-6)
        if not data:
            loop.call_at(due, finish)
            await ended
            return
        loop.call_at(due, writer.write, data)


async def main() -> None:
    relay = Relay(pathlib.Path(sys.argv[1]))
    await relay.load()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, relay.reload)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    os.write(1, b"ready")
    os.close(1)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
