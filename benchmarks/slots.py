# SPDX-License-Identifier: Apache-2.0
"""How long a slot stays empty while somebody waits for it: from the end of one migration to the start of the next.

Measured where copies take time, as copies do, so that slots come free at about half the rate at which the machine can hand them over.
Every host sends one guest at a time and always has a few that wait, for longer than their checks hold: each start has them run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks import measures, site
from benchmarks.measures import Measure
from wherry.testing.fleet import program

#: Nova's defaults, which are ours.
_OUT, _IN = 1, 2
_COPY_SECONDS = 2.0
#: Out of each host at a time: one on its way, the others waiting.
_DEPTH = 5
#: Less than the wait of those.
_CHECK_TTL_SECONDS = 6.0
_LIMIT_SECONDS = 600.0
_PAUSE_SECONDS = 0.25
_AIM_MS = 200.0
#: Notes each change of status where it happens: an admission after its locks were had, an end before its slots are free. The stamps of
#: the records are of the beginning of their transactions, which may wait for locks.
NOTING = """
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


def measure(*, conductors: int, hosts: int, each: int) -> Iterator[Measure]:
    """Measure with PostgreSQL and NATS.

    :param hosts: each of them has one copy under way at any time.
    :param each: guests that are moved out of each host.
    """
    name = f"slots.{conductors}"
    options = {"conductor": {"check_ttl_seconds": _CHECK_TTL_SECONDS}}
    with site.Site(
        "postgresql", hosts=hosts, guests=hosts * each, conductors=conductors, copy_seconds=_COPY_SECONDS, options=options
    ) as running:
        running.server_ids()
        running.sql(NOTING)
        before, begun = running.used(), running.now()
        _keep_queues(running)
        took, used = running.now() - begun, running.used().since(before)
        found = spans(running)
        again = running.count("SELECT count(*) FROM instance_events WHERE name = 'compute_check_can_live_migrate_destination'") - len(found)
    completed = sum(one[4] == "completed" for one in found)
    details = {"cpu_seconds": used, "hosts": hosts, "copy_seconds": _COPY_SECONDS, "check_ttl_seconds": _CHECK_TTL_SECONDS}
    yield Measure(name=name, value=completed / took, unit="/s", details=details)
    yield Measure(name=f"{name}.lost", value=hosts * each - completed, unit="migrations", at_most=0)
    yield Measure(name=f"{name}.processors", value=sum(used.values()) / took, unit="processors")
    yield Measure(name=f"{name}.checked-again", value=again, unit="checks")
    yield from of_slots(name, found, p99_at_most=_AIM_MS)


def spans(running: site.Site) -> list[list[str]]:
    """Give each migration's source, destination, start, end, status, and since when it waited for slots."""
    return [line.split("|") for line in running.sql(_SPANS).splitlines() if line]


def of_slots(name: str, spans: Sequence[Sequence[str]], *, p99_at_most: float | None = None) -> Iterator[Measure]:
    """Say how many migrations left and entered a host at once, and how long slots that others waited for stayed empty."""
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
    yield Measure(name=f"{name}.slot-to-start.p99", value=measures.percentile(waits, 99) * 1000, unit="ms", at_most=p99_at_most)


def _keep_queues(running: site.Site) -> None:
    """Move all guests away from where they are, asking for the next of a host when one of it has ended."""
    left: dict[str, list[str]] = {}
    for line in running.sql("SELECT host, uuid FROM servers ORDER BY id").splitlines():
        host, _, uuid = line.partition("|")
        left.setdefault(host, []).append(uuid)

    def are_empty() -> bool:
        rows = running.sql("SELECT source_compute, count(*) FROM migrations WHERE finished_at IS NULL GROUP BY 1").splitlines()
        under_way = {host: int(count) for host, _, count in (row.partition("|") for row in rows if row)}
        for host, uuids in left.items():
            while uuids and under_way.get(host, 0) < _DEPTH:
                status, body = running.ask("POST", f"/v2.1/servers/{uuids.pop()}/action", site.LIVE_MIGRATE)
                if status != 202:
                    raise program.FleetError(f"a request was not accepted: {status} {body[:200]!r}")
                under_way[host] = under_way.get(host, 0) + 1
        return not under_way

    program.until(are_empty, "the queues to end", seconds=_LIMIT_SECONDS, interval_seconds=_PAUSE_SECONDS)
