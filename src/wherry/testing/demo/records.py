# SPDX-License-Identifier: Apache-2.0
"""What the demo reads out of the API's answers. Pure: knows neither HTTP nor the terminal."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from wherry.model import states

MIB = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A server as GET /servers/detail shows it to an administrator."""

    id: str
    name: str
    status: str
    host: str
    #: None or "migrating".
    task_state: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """A server's migration; the last fields are there from microversion 2.1000 on."""

    id: int
    uuid: str
    status: str
    source: str
    #: None until one is chosen.
    destination: str | None
    memory_total_bytes: int | None
    memory_processed_bytes: int | None
    memory_remaining_bytes: int | None
    #: Never falls; None before the first report.
    percentage: int | None
    reason: str
    reason_message: str

    @property
    def is_ended(self) -> bool:
        """Whether nothing changes any more."""
        return states.Status(self.status) in states.TERMINAL

    @property
    def has_sent_all_once(self) -> bool:
        """Whether more was sent than the guest has memory: it writes faster than it is copied."""
        return bool(self.memory_total_bytes and self.memory_processed_bytes and self.memory_processed_bytes > self.memory_total_bytes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One stage of an instance action."""

    name: str
    host: str
    started_at: datetime.datetime
    #: None while it runs.
    finished_at: datetime.datetime | None
    result: str | None
    details: str

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


def server_of(body: Mapping[str, Any]) -> Server:
    """Read one server."""
    return Server(
        id=body["id"],
        name=body["name"],
        status=body["status"],
        host=body.get("OS-EXT-SRV-ATTR:host") or "",
        task_state=body.get("OS-EXT-STS:task_state"),
    )


def migration_of(body: Mapping[str, Any]) -> Migration:
    """Read one migration of a server."""
    return Migration(
        id=body["id"],
        uuid=body.get("uuid", ""),
        status=body["status"],
        source=body["source_compute"],
        destination=body.get("dest_compute"),
        memory_total_bytes=body["memory_total_bytes"],
        memory_processed_bytes=body["memory_processed_bytes"],
        memory_remaining_bytes=body["memory_remaining_bytes"],
        percentage=body.get("percentage"),
        reason=body.get("reason") or "",
        reason_message=body.get("reason_message") or "",
    )


def events_of(body: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Read the events of an action; the API has the newest first, here the first is first."""
    return [_event_of(one) for one in reversed(list(body))]


def _event_of(body: Mapping[str, Any]) -> Event:
    return Event(
        name=body["event"],
        host=body.get("host") or "",
        started_at=_time_of(body["start_time"]),
        finished_at=_time_of(body["finish_time"]) if body["finish_time"] else None,
        result=body["result"],
        details=body.get("details") or "",
    )


def _time_of(text: str) -> datetime.datetime:
    # Without a zone, as Nova has it; it is UTC.
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def mib(count: int | None) -> str:
    """Write a count of bytes as MiB; a dash for none."""
    return "-" if count is None else f"{count / MIB:.0f} MiB"
