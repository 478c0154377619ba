# SPDX-License-Identifier: Apache-2.0
"""A thousand live migrations asked for at once, none of which takes time to copy: how fast they end, and what each costs.

That none was lost and no cap exceeded is read from the records afterwards.
"""

from __future__ import annotations

import collections
import json
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent import futures

from benchmarks import measures, site, usage
from benchmarks.measures import Measure
from wherry.testing.fleet import program

_HOSTS = 100
#: Nova's defaults, which are ours.
_OUT, _IN = 1, 2
_CLIENTS = 16
_LIMIT_SECONDS = 1800.0
_BODY = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
#: Notes each change of status where it happens: an admission after its locks were had, an end before its slots are free. The stamps of
#: the records are of the beginning of their transactions, which may wait for locks.
_NOTING = """
CREATE TABLE moves (id int, source text, destination text, status text, at double precision);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
INSERT INTO moves VALUES (NEW.id, NEW.source_compute, NEW.dest_compute, NEW.status, extract(epoch FROM clock_timestamp()));
RETURN NULL; END $$;
CREATE TRIGGER noted AFTER UPDATE OF status ON migrations FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION note();
"""
_SPANS = """
SELECT s.source, s.destination, s.at, e.at, m.status, q.at FROM migrations m
JOIN moves s ON s.id = m.id AND s.status = 'preparing' JOIN moves e ON e.id = m.id AND e.status = m.status
JOIN moves q ON q.id = m.id AND q.status = 'queued'
"""


def measure(*, conductors: int, migrations: int) -> Iterator[Measure]:
    """Measure with PostgreSQL and NATS."""
    name = f"completions.{conductors}"
    with site.Site("postgresql", hosts=_HOSTS, guests=migrations, conductors=conductors) as running:
        servers = running.server_ids()
        messages = _messages(running)
        running.sql(_NOTING)
        running.sql("SELECT pg_stat_statements_reset()")
        before, begun = running.used(), running.now()
        _ask_for_all(running, servers)
        program.until(
            lambda: running.sql("SELECT count(*) FROM migrations WHERE finished_at IS NULL").strip() == "0",
            "the end",
            seconds=_LIMIT_SECONDS,
            interval_seconds=0.2,
        )
        took, used = running.now() - begun, running.used().since(before)
        messages = _messages(running) - messages
        statements = int(running.sql("SELECT sum(calls) FROM pg_stat_statements").strip())
        spans = [line.split("|") for line in running.sql(_SPANS).splitlines() if line]
        memory = {one.name: usage.memory_mib(one.pid) for one in running.programs}
    statuses = collections.Counter(line[4] for line in spans)
    details = {"cpu_seconds": used, "statuses": dict(statuses), "migrations": migrations}
    is_one = conductors == 1
    yield Measure(name=name, value=migrations / took, unit="/s", at_least=30.0 if is_one else None, details=details)
    yield Measure(name=f"{name}.cpu", value=running.own(used) / migrations, unit="s/migration", at_most=0.05 if is_one else None)
    yield Measure(name=f"{name}.cpu-servers", value=(sum(used.values()) - running.own(used)) / migrations, unit="s/migration")
    yield Measure(name=f"{name}.lost", value=migrations - statuses["completed"], unit="migrations", at_most=0)
    yield Measure(name=f"{name}.statements", value=statements / migrations, unit="/migration")
    yield Measure(name=f"{name}.messages", value=messages / migrations, unit="/migration")
    yield from _of_slots(name, spans)
    for process, sizes in memory.items():
        yield Measure(name=f"memory.{name}.{process}", value=sizes["proportional_mib"], unit="MiB", details=sizes)


def _of_slots(name: str, spans: Sequence[Sequence[str]]) -> Iterator[Measure]:
    out: dict[str, list[tuple[float, float]]] = {}
    into: dict[str, list[tuple[float, float]]] = {}
    for source, destination, started, ended, *_ in spans:
        span = (float(started), float(ended))
        out.setdefault(source, []).append(span)
        into.setdefault(destination, []).append(span)
    yield Measure(name=f"{name}.most-out-of-a-host", value=max(map(measures.most_at_once, out.values())), unit="at once", at_most=_OUT)
    yield Measure(name=f"{name}.most-into-a-host", value=max(map(measures.most_at_once, into.values())), unit="at once", at_most=_IN)
    waits = []
    for source, destination, started, _ended, _status, queued in spans:
        freed = max(measures.freed_at(out[source], _OUT, float(started)), measures.freed_at(into[destination], _IN, float(started)))
        # Who found its slots free was handed none.
        if freed > float(queued):
            waits.append(float(started) - freed)
    yield Measure(name=f"{name}.slots-handed-over", value=len(waits), unit="slots")
    yield Measure(name=f"{name}.slot-to-start.p50", value=measures.percentile(waits, 50) * 1000, unit="ms")
    yield Measure(name=f"{name}.slot-to-start.p99", value=measures.percentile(waits, 99) * 1000, unit="ms", at_most=200.0)


def _ask_for_all(running: site.Site, servers: Sequence[str]) -> None:
    def ask(server: str) -> int:
        return running.ask("POST", f"/v2.1/servers/{server}/action", _BODY)[0]

    with futures.ThreadPoolExecutor(_CLIENTS) as clients:
        refused = collections.Counter(clients.map(ask, servers))
    if set(refused) != {202}:
        raise program.FleetError(f"not every request was accepted: {dict(refused)}")


def _messages(running: site.Site) -> int:
    """Give how many messages the bus took in until now."""
    with urllib.request.urlopen(f"{running.bus_url}/varz", timeout=10) as answer:
        return int(json.load(answer)["in_msgs"])
