# SPDX-License-Identifier: Apache-2.0
"""A whole Wherry over the lab's hosts, in this process or in one of its own, and a client that follows its migrations by HTTP.

Asks no hypervisor: what the guests do is for the tests to read from the lab.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx

from wherry import config as configs
from wherry.cmd import all_in_one
from wherry.model import states
from wherry.testing import lab as labs
from wherry.testing.demo import site as demo_site

T = TypeVar("T")
Options = Mapping[str, Mapping[str, Any]]

#: The first version whose requests are answered at once and whose events have details; the last that waits for the checks.
ASYNCHRONOUS, BLOCKING = "2.84", "2.30"
#: Wherry's own, which shows ended migrations and their reason.
OWN = "2.1000"
POLL_SECONDS = 0.03
START_TIMEOUT_SECONDS = 30.0
_pause = threading.Event()


def options_of(lab: labs.Lab, state_path: pathlib.Path, more: Options) -> dict[str, dict[str, str]]:
    """Give the configuration of a Wherry over these hosts: short waits, room for six migrations, memory on the migration network."""
    options: dict[str, dict[str, Any]] = {
        "DEFAULT": {
            "host": "control",
            "state_path": state_path,
            "report_interval_seconds": 1,
            "service_down_time_seconds": 10,
            "max_concurrent_live_migrations": 6,
            "max_concurrent_incoming_live_migrations": 6,
        },
        "api": {"bind_port": 0},
        "agent": {
            "driver": "libvirt",
            "hosts": ",".join(f"{host.name}={host.uri}" for host in lab.hosts),
            "reconnect_initial_seconds": 0.1,
            "reconnect_max_seconds": 0.5,
            "inventory_interval_seconds": 2,
        },
        "conductor": {
            "lease_seconds": 2,
            "lease_renew_interval_seconds": 0.5,
            "agent_silence_seconds": 3,
            "chore_retry_interval_seconds": 0.5,
            "queue_poll_interval_seconds": 0.2,
            "progress_flush_interval_seconds": 0.2,
        },
        "libvirt": {
            "live_migration_monitor_interval": 1,
            "call_timeout_seconds": 4,
            "open_timeout_seconds": 2,
            "close_timeout_seconds": 0.5,
            "reconnect_initial_seconds": 0.1,
            "reconnect_max_seconds": 0.4,
            "keepalive_interval_seconds": 1,
            "keepalive_count": 2,
            "reachability_timeout_seconds": 2,
        },
    }
    for section, changes in more.items():
        options.setdefault(section, {}).update(changes)
    return {section: {name: str(value) for name, value in values.items()} for section, values in options.items()}


class StartWherry(typing.Protocol):
    """What the fixture of this name is."""

    def __call__(self, *, is_separate: bool = False, **options: dict[str, Any]) -> Flow:
        """Start it, in a process of its own if asked; keywords are options by section."""


class Process(typing.Protocol):
    """A Wherry that can be started and stopped."""

    def start(self) -> str:
        """Start it; gives the address of its API."""

    def stop(self) -> None:
        """Stop it in order; nothing happens if it does not run."""


class Embedded:
    """`wherry all-in-one` in a thread of this process, with an event loop of its own."""

    def __init__(self, options: Mapping[str, Mapping[str, str]]) -> None:
        self._config = configs.load([], {}, options)
        self._answer: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()
        self._stop: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wherry all-in-one", daemon=True)
        self._thread.start()
        answer = self._answer.get(timeout=START_TIMEOUT_SECONDS)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def stop(self) -> None:
        self._stop()
        if self._thread is not None:
            self._thread.join(START_TIMEOUT_SECONDS)
            assert not self._thread.is_alive(), "it stops, whatever its hypervisors do"

    async def _serve(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        service = all_in_one.AllInOne(self._config)
        try:
            await service.start()
        except BaseException as problem:
            self._answer.put(problem)
            return
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        self._answer.put(service.address)
        await stopping.wait()
        self._stop = lambda: None
        await service.stop()


class Separate:
    """`wherry all-in-one` as an operator starts it, from a file; it can be killed."""

    def __init__(self, options: Mapping[str, Mapping[str, str]], directory: pathlib.Path) -> None:
        self._file = directory / "wherry.conf"
        self._options = {section: dict(values) for section, values in options.items()}
        self._file.write_text(demo_site.render(self._options))
        self._log = directory / "wherry.log"
        self._process: subprocess.Popen[str] | None = None
        #: When it last said that it serves, by the wall clock.
        self.served_at = 0.0

    def start(self) -> str:
        program = pathlib.Path(sys.executable).with_name("wherry")
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [program, "all-in-one", "--config-file", self._file],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert "serves the Compute API at " in said, self._log.read_text()
        self.served_at = time.time()
        return said.split(" at ")[1].strip().removesuffix("/v2.1")

    def stop(self) -> None:
        self._end("terminate")

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self._end("kill")

    def write(self, section: str, **changes: Any) -> None:
        """Change its file, for when it is started the next time."""
        self._options.setdefault(section, {}).update({name: str(value) for name, value in changes.items()})
        self._file.write_text(demo_site.render(self._options))

    def reconfigure(self, section: str, **changes: Any) -> None:
        """Change its file, and have it read again."""
        self.write(section, **changes)
        told, seen = "configuration was read again", self._log.read_text().lower()
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGHUP)
        until(lambda: self._log.read_text().lower().count(told) > seen.count(told), "the configuration to be read again")

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.wait(START_TIMEOUT_SECONDS)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


#: What the server of a guest in each state shows.
_STATUSES = {"running": "ACTIVE", "paused": "PAUSED", "shut off": "SHUTOFF"}


class Flow:
    """A running Wherry over a lab, and its client as an administrator."""

    def __init__(self, lab: labs.Lab, process: Process) -> None:
        self.lab = lab
        self.process = process
        self.h1, self.h2, self.h3 = lab.hosts
        #: Set for each test.
        self.make_guest: labs.MakeGuest
        self._http: httpx.Client | None = None

    def __enter__(self) -> typing.Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()
        self.process.stop()

    def start(self) -> None:
        """Start it, perhaps again, and wait until it serves every host."""
        if self._http is not None:
            self._http.close()
        self._http = httpx.Client(base_url=self.process.start(), timeout=60.0, trust_env=False)
        until(lambda: [*self.services().values()] == ["up"] * len(self.lab.hosts), "every host to be registered")

    def guest(self, name: str = "", **options: Any) -> labs.Guest:
        """Make a guest at h1, and wait until Wherry shows it in its state: between its definition and its start it is off."""
        made = self.make_guest(name, **options)
        status = _STATUSES[made.state().split(" (")[0]]
        until(lambda: (self.server(made) or {}).get("status") == status, f"{made.name} to be found, and {status}")
        return made

    # ---------------------------------------------------------------- asking

    def request(self, method: str, path: str, *, version: str = "2.104", **keys: Any) -> httpx.Response:
        """Send one request, whatever the answer."""
        assert self._http is not None, "it was started"
        return self._http.request(method, f"/v2.1{path}", headers={"OpenStack-API-Version": f"compute {version}"}, **keys)

    def get(self, path: str, *, version: str = "2.104") -> Any:
        """Read what must be there."""
        answer = self.request("GET", path, version=version)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def server(self, guest: labs.Guest) -> dict[str, Any] | None:
        """Give a guest's server; None while there is none."""
        answer = self.request("GET", f"/servers/{guest.uuid}")
        return dict(answer.json()["server"]) if answer.status_code == 200 else None

    def services(self) -> dict[str, str]:
        """Give the state of each host's service."""
        return {one["host"]: one["state"] for one in self.get("/os-services?binary=nova-compute")["services"]}

    def hypervisor(self, host: labs.Host) -> dict[str, Any]:
        """Give one hypervisor at the last version that shows its usage."""
        found = self.get("/os-hypervisors/detail", version="2.87")["hypervisors"]
        return next(dict(one) for one in found if one["hypervisor_hostname"] == host.name)

    def live_migrate(self, guest: labs.Guest, host: labs.Host | None = None, *, version: str = ASYNCHRONOUS, **keys: Any) -> Move:
        """Ask for a live migration, to h2 unless another is named; `keys` are put into the body. The answer must be 202."""
        asked = self.ask(guest, host or self.h2, version=version, **keys)
        assert asked.answer.status_code == 202, asked.answer.text
        return asked

    def ask(self, guest: labs.Guest, host: labs.Host | None, *, version: str = ASYNCHRONOUS, **keys: Any) -> Move:
        """Ask for a live migration, whatever the answer."""
        body = {"host": host.name if host is not None else None, "block_migration": "auto", **keys}
        answer = self.request("POST", f"/servers/{guest.uuid}/action", version=version, json={"os-migrateLive": body})
        return Move(self, guest, answer)

    def latest_migration(self, guest: labs.Guest) -> int:
        """Give the number of a server's latest migration, ended or not."""
        return max(int(one["id"]) for one in self.get(f"/os-migrations?instance_uuid={guest.uuid}")["migrations"])


@dataclasses.dataclass(frozen=True)
class Move:
    """One migration that was asked for."""

    flow: Flow
    guest: labs.Guest
    answer: httpx.Response

    @property
    def request_id(self) -> str:
        """Of the answer."""
        return self.answer.headers["x-openstack-request-id"]

    @property
    def id(self) -> int:
        """Its number."""
        return self.flow.latest_migration(self.guest)

    @property
    def record(self) -> dict[str, Any]:
        """As the API shows it now, ended or not."""
        return dict(self.flow.get(f"/servers/{self.guest.uuid}/migrations/{self.id}", version=OWN)["migration"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """Of the action that the answer's request id finds, the first one first."""
        return self.events_of(self.request_id)

    def events_of(self, request_id: str) -> list[dict[str, Any]]:
        """Of another request about the same server."""
        found = self.flow.get(f"/servers/{self.guest.uuid}/os-instance-actions/{request_id}")["instanceAction"]
        return list(reversed(found["events"]))

    @property
    def told(self) -> list[tuple[str, str, str | None]]:
        """Name, host and result of each event."""
        return [(event["event"], event["host"], event["result"]) for event in self.events]

    def event(self, name: str) -> dict[str, Any]:
        """The last event of this name."""
        return [event for event in self.events if event["event"] == name][-1]

    def until_copying(self, source: labs.Host, *, mib: float = 1) -> None:
        """Wait until so much memory is on its way, by QEMU's own count, and the record says that it runs."""
        until(lambda: job(source, self.guest).get("memory_processed", 0) >= mib * (1 << 20), f"{mib} MiB of {self.guest.name} to be sent")
        self.until_status("running")

    def until_status(self, status: str, *, seconds: float = 20) -> dict[str, Any]:
        """Wait for a status; an end with another one is told at once."""

        def reached() -> dict[str, Any] | None:
            record = self.record
            assert record["status"] == status or record["status"] not in states.TERMINAL, (status, record)
            return record if record["status"] == status else None

        return until(reached, f"status {status}", seconds=seconds)

    def until_ended(self, *, seconds: float = 30) -> dict[str, Any]:
        """Wait for the end; every event is closed then, and nothing is left on the server."""
        record = until(lambda: found if (found := self.record)["status"] in states.TERMINAL else None, "the end", seconds=seconds)
        assert [event for event in self.events if event["finish_time"] is None or event["result"] is None] == []
        server = self.flow.server(self.guest)
        assert server is None or server["OS-EXT-STS:task_state"] is None
        return record

    def abort(self) -> httpx.Response:
        """Ask for its end."""
        answer = self.flow.request("DELETE", f"/servers/{self.guest.uuid}/migrations/{self.id}")
        assert answer.status_code == 202, answer.text
        return answer


def job(host: labs.Host, guest: labs.Guest) -> dict[str, int]:
    """Give the numbers of a guest's job, by libvirt itself; nothing without one."""
    try:
        text = host.virsh("domjobinfo", guest.name, "--rawstats")
    except labs.CommandFailed:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    numbers = {key.strip(): int(value) for key, _, value in pairs if value.strip().isdigit()}
    # Without a job there is a line all the same: its type, which is none.
    return numbers if "operation" in numbers or "memory_total" in numbers else {}


def until(condition: Callable[[], T | None], what: str, *, seconds: float = 20, interval: float = POLL_SECONDS) -> T:
    """Ask until there is an answer that is true; give it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        _pause.wait(interval)
    return found
