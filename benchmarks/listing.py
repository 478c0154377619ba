# SPDX-License-Identifier: Apache-2.0
"""How long lists and single records take with ten thousand servers and ten thousand migrations in the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from benchmarks import load, site
from benchmarks.measures import Measure
from wherry.testing.fleet import program

_BODY = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_LIST_MS, _SHOW_MS = 150.0, 10.0
_SECONDS = 5.0
_RANDOM_UUID = {
    "postgresql": "gen_random_uuid()::text",
    "sqlite": "substr(h,1,8)||'-'||substr(h,9,4)||'-'||substr(h,13,4)||'-'||substr(h,17,4)||'-'||substr(h,21,12)",
}


def measure(store: str, *, records: int) -> Iterator[Measure]:
    """Ask one at a time, so that a time is what an answer takes."""
    with site.Site(store, hosts=20, guests=records) as running:
        servers = running.server_ids()
        migration = _one_migration(running, servers[0])
        _multiply(running)
        # One that has ended is shown in the list of all only. Nobody drives it: its operation has ended.
        _run(running, f"UPDATE migrations SET status = 'running' WHERE id = {migration}")
        found = len(running.listed("/v2.1/os-migrations", "migrations")) if records <= 10_000 else records
        details = {"servers": len(servers), "migrations": found}
        for name, path, aim in (
            ("servers-detail", "/v2.1/servers/detail?limit=1000", _LIST_MS),
            ("os-migrations", "/v2.1/os-migrations?limit=1000", _LIST_MS),
            ("server", f"/v2.1/servers/{servers[-1]}", _SHOW_MS),
            ("migration", f"/v2.1/servers/{servers[0]}/migrations/{migration}", _SHOW_MS),
        ):
            done = load.run(running.url, [path] * 100_000, running.directory, clients=1, seconds=_SECONDS)
            if set(done.codes) != {200}:
                raise load.LoadFailed(f"{path} was answered with {dict(done.codes)}")
            yield Measure(name=f"list.{store}.{name}.p50", value=done.latency_ms[50], unit="ms", at_most=aim, details=details)
            yield Measure(name=f"list.{store}.{name}.p99", value=done.latency_ms[99], unit="ms")


def _one_migration(running: site.Site, server: str) -> int:
    running.ask("POST", f"/v2.1/servers/{server}/action", _BODY)

    def ended() -> int:
        (record,) = running.get(f"/v2.1/os-migrations?instance_uuid={server}")["migrations"]
        return int(record["id"]) if record["status"] == "completed" else 0

    return program.until(ended, "a migration to end", interval_seconds=0.2)


def _multiply(running: site.Site) -> None:
    """Give each server a migration like the one that there is: making ten thousand the usual way takes minutes."""
    kinds = {"operations": "id", "migrations": "uuid"}
    columns = {table: _columns(running, table) for table in kinds}
    uuid = _RANDOM_UUID[running.store]
    hexed = ", lower(hex(randomblob(16))) AS h" if running.store == "sqlite" else ""
    _run(running, f"CREATE TABLE pairs AS SELECT s.uuid AS instance, {uuid} AS id FROM (SELECT uuid{hexed} FROM servers) s")
    for table, key in kinds.items():
        own = {key: "p.id", "instance_uuid": "p.instance"}
        names = [name for name in columns[table] if not (table == "migrations" and name == "id")]
        values = ", ".join(own.get(name, f"o.{name}") for name in names)
        _run(running, f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM pairs p, (SELECT * FROM {table} LIMIT 1) o")
    _run(running, "DROP TABLE pairs")
    if running.store == "postgresql":
        _run(running, "ANALYZE")


def _columns(running: site.Site, table: str) -> list[str]:
    if running.store == "postgresql":
        told = running.sql(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")
        return told.split()
    with sqlite3.connect(running.directory / "wherry.sqlite") as connection:
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _run(running: site.Site, statement: str) -> None:
    if running.store == "postgresql":
        running.sql(statement)
        return
    with sqlite3.connect(running.directory / "wherry.sqlite", timeout=30) as connection:
        connection.execute(statement)
