# SPDX-License-Identifier: Apache-2.0
"""What every `wherry` process does: tell how it is, drain at the first SIGTERM and end at the second, keep the service manager informed."""

from __future__ import annotations

import json
import pathlib
import signal
import socket
import typing
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from wherry.testing.fleet import program as programs

pytestmark = pytest.mark.functional


def _options(directory: pathlib.Path) -> programs.Options:
    return {
        "DEFAULT": {"state_path": directory / "state", "start_retry_max_seconds": 0.5},
        "api": {"bind_port": programs.free_port()},
        "agent": {"driver": "simulated", "journal_fsync": "false"},
    }


@pytest.fixture
def one(tmp_path: pathlib.Path) -> Iterator[programs.Program]:
    with programs.Program("all-in-one", "wherry", tmp_path, _options(tmp_path)) as made:
        yield made


def test_it_tells_how_it_is_and_what_it_counts(one: programs.Program) -> None:
    one.start()
    assert one.probe("/healthz/live") == (200, '{"status": "live"}\n')
    assert one.probe("/healthz/ready") == (200, '{"status": "ready"}\n')
    status, text = one.probe("/metrics")
    assert status == 200
    assert "wherry_rpc_call_seconds_count" in text
    assert "process_resident_memory_bytes" in text
    assert one.probe("/elsewhere")[0] == 404
    assert one.stop() == 0


def test_the_api_answers_probes_without_a_log_in_on_its_own_port(one: programs.Program) -> None:
    one.start()
    port = one.option("api", "bind_port")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready") as answer:
        assert json.load(answer) == {"status": "ready"}
    with pytest.raises(urllib.error.HTTPError, match="300"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


class _HalfSent:
    """A request whose body has not come yet: in progress for as long as one likes."""

    _BODY = b'{"os-getConsoleOutput": {}}'

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        head = f"POST /v2.1/servers/none/action HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(self._BODY)}"
        self._socket.sendall(f"{head}\r\nX-Auth-Token: admin\r\nExpect: 100-continue\r\n\r\n".encode())
        # Said when the application asks for the body.
        assert self._socket.recv(4096).startswith(b"HTTP/1.1 100 ")

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def finish(self) -> bytes:
        self._socket.sendall(self._BODY)
        return self._socket.recv(65536)


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_first_sigterm_lets_requests_end_and_takes_no_more(one: programs.Program) -> None:
    one.start()
    port = int(one.option("api", "bind_port"))
    with _HalfSent(port) as request:
        one.signal(signal.SIGTERM)
        programs.until(lambda: _is_refused(port), "it to take no more")
        assert one.lacks() == ["stopping"]
        assert one.is_running
        assert request.finish().startswith(b"HTTP/1.1 4")
    assert one.wait() == 0


def test_the_second_sigterm_ends_it_at_once(one: programs.Program) -> None:
    one.start()
    port = int(one.option("api", "bind_port"))
    with _HalfSent(port):
        one.signal(signal.SIGTERM)
        programs.until(lambda: _is_refused(port), "it to take no more")
        one.signal(signal.SIGTERM)
        assert one.wait(2) == -signal.SIGTERM


def test_what_takes_too_long_to_end_is_cut_off(one: programs.Program) -> None:
    one.write("DEFAULT", stop_timeout_seconds=0.5)
    one.start()
    with _HalfSent(int(one.option("api", "bind_port"))):
        one.signal(signal.SIGTERM)
        assert one.wait(5) == 1
    one.wait_logged("not all was put in order in time")


def test_the_service_manager_is_told(tmp_path: pathlib.Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with manager, programs.Program("all-in-one", "wherry", tmp_path, _options(tmp_path), environment=environment) as one:
        one.start()
        told = [manager.recv(4096).decode()]
        while not told[-1].startswith("READY=1"):
            told.append(manager.recv(4096).decode())
        assert "STATUS=waiting for the database" in told
        while not told[-1].startswith("WATCHDOG=1"):
            told.append(manager.recv(4096).decode())
        assert one.stop() == 0
        while not told[-1].startswith("STOPPING=1"):
            told.append(manager.recv(4096).decode())
