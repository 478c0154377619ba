# SPDX-License-Identifier: Apache-2.0
"""Lines are sentences with fields, in both formats, and hold no secret."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from wherry.telemetry import logs

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=datetime.UTC)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give the stream that lines go to, and put Python's logging back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("wherry")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


def _json_line(stream: io.StringIO) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return line


def test_a_text_line(stream: io.StringIO) -> None:
    logs.configure("text", stream=stream, now=lambda: NOW)
    logs.get_logger("wherry.x").info("A migration started.", migration_id=3, host="h1", why="a b", nothing=None)
    assert stream.getvalue() == "2026-01-02T03:04:05.678Z INFO    A migration started. [migration_id=3 host=h1 why='a b']\n"


def test_a_json_line(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream, now=lambda: NOW)
    logs.get_logger("wherry.x").warning("A migration failed.", migration_id=3)
    assert _json_line(stream) == {
        "event": "A migration failed.",
        "migration_id": 3,
        "level": "warning",
        "logger": "wherry.x",
        "time": "2026-01-02T03:04:05.678Z",
    }


async def test_bound_fields_are_on_every_line_of_a_task_and_of_no_other(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    log = logs.get_logger("wherry.x")

    async def work(number: int) -> None:
        with logs.bound(request_id=f"req-{number}"):
            await asyncio.sleep(0)
            log.info("within", number=number)
        log.info("after", number=number)

    await asyncio.gather(work(1), work(2))
    seen = {(line["event"], line["number"]): line.get("request_id") for line in map(json.loads, stream.getvalue().splitlines())}
    assert seen == {("within", 1): "req-1", ("within", 2): "req-2", ("after", 1): None, ("after", 2): None}


def test_a_bound_field_can_be_read_to_be_carried_on() -> None:
    with logs.bound(request_id="req-1"):
        assert logs.current("request_id") == "req-1"
    assert logs.current("request_id") == ""


def test_libraries_come_out_the_same_way(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    with logs.bound(request_id="req-1"):
        logging.getLogger("uvicorn.error").warning("Port %d at nats://u:hunter2@h", 1)
    line = _json_line(stream)
    assert line["event"] == "Port 1 at nats://u:(hidden)@h"
    assert line["request_id"] == "req-1"


def test_debug_can_be_switched(stream: io.StringIO) -> None:
    logs.configure("text", stream=stream)
    log = logs.get_logger("wherry.x")
    log.debug("unseen")
    logs.set_debug(True)
    log.debug("seen")
    logs.set_debug(False)
    log.debug("unseen again")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["seen"]


def test_a_second_configuration_replaces_the_first(stream: io.StringIO) -> None:
    other = io.StringIO()
    logs.configure("text", stream=other)
    logs.configure("text", stream=stream)
    logs.get_logger("wherry.x").info("once")
    assert other.getvalue() == ""
    assert stream.getvalue().count("once") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_gets_out(stream: io.StringIO, log_format: str) -> None:
    """By the field's name, nested, in a URL, in a quoted header, and in a traceback."""
    logs.configure(log_format, stream=stream)
    log = logs.get_logger("wherry.x")
    log.info(
        "Connecting to postgresql+asyncpg://wherry:hunter2@db/wherry",
        password="hunter2",
        nested={"auth": {"admin_token": "hunter2", "rows": [{"Authorization": "hunter2"}]}},
        urls=["nats://u:hunter2@h:4222,nats://v:hunter2@i:4222"],
        header="X-Auth-Token: hunter2",
        body='{"password": "hunter2"}',
        raw=b"Authorization: Bearer hunter2",
        error=ValueError("nats://u:hunter2@h"),
    )
    try:
        raise ValueError("cannot reach nats://u:hunter2@h")
    except ValueError:
        log.exception("It failed.")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "ValueError: cannot reach nats://u:(hidden)@h" in text
    assert "db/wherry" in text


def test_what_is_no_secret_stays(stream: io.StringIO) -> None:
    """Flags and numbers with telling names say nothing, and addresses without a password stay whole."""
    logs.configure("json", stream=stream)
    logs.get_logger("wherry.x").info("x", has_token=True, tokens=3, uri="qemu+tcp://10.0.0.1/system", none_token=None)
    line = _json_line(stream)
    assert (line["has_token"], line["tokens"], line["uri"], line["none_token"]) == (True, 3, "qemu+tcp://10.0.0.1/system", None)


@hypothesis.given(strategies.text(), strategies.text())
def test_a_text_line_is_one_line(sentence: str, value: str) -> None:
    """What a client or a hypervisor sent cannot start a line of its own."""
    line = logs.render_text(None, "info", {"time": "t", "level": "info", "event": sentence, "field": value})
    assert len(line.splitlines()) == 1
