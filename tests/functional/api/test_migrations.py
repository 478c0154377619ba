# SPDX-License-Identifier: Apache-2.0
"""os-migrations over HTTP: fields of each version, filters, pages, and who sees which."""

from __future__ import annotations

import pytest

from tests.functional.api import conftest
from wherry.model import migration, states
from wherry.model import server as server_model

FIELDS = {
    *("id", "created_at", "updated_at", "instance_uuid", "status", "source_compute", "source_node", "dest_compute", "dest_node"),
    *("dest_host", "old_instance_type_id", "new_instance_type_id"),
}


@pytest.fixture
async def records(cloud: conftest.Cloud) -> list[migration.Migration]:
    """One that failed its checks, by a manager of p1; one in the queue to h3, by an administrator of p2; one accepted."""
    made = []
    for number, (host, token, project) in enumerate((("h1", conftest.MANAGER, "p1"), ("h2", "admin:p2", "p2"), ("h1", "admin:p1", "p1"))):
        server = await cloud.add_server(number, host, project_id=project)
        assert (await cloud.migrate(server.uuid, token=token)).status_code == 202
        made.append((await cloud.open_operation(server.uuid))[1])
    clear = server_model.ServerChange(clear_task=True)
    made[0] = await cloud.advance(made[0].uuid, event=states.Event.CHECK_FAILED, server=clear)
    made[1] = await cloud.advance(made[1].uuid, event=states.Event.CHECKS_PASSED, dest_compute="h3", dest_node="h3.example")
    return made


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("2.1", FIELDS),
        ("2.22", FIELDS),
        ("2.23", FIELDS | {"migration_type"}),
        ("2.59", FIELDS | {"migration_type", "uuid"}),
        ("2.80", FIELDS | {"migration_type", "uuid", "user_id", "project_id"}),
        ("2.104", FIELDS | {"migration_type", "uuid", "user_id", "project_id"}),
    ],
)
async def test_fields_by_version(cloud: conftest.Cloud, records: list[migration.Migration], version: str, keys: set[str]) -> None:
    shown = (await cloud.get("/v2.1/os-migrations", version)).json()["migrations"]
    numbers = [record.id for record in records]
    assert [one["id"] for one in shown] == (numbers if version in ("2.1", "2.22", "2.23") else numbers[::-1])
    by_id = {one["id"]: one for one in shown}
    assert set(by_id[numbers[0]]) == keys
    # Only what is in progress can be linked to.
    assert set(by_id[numbers[1]]) == (keys | {"links"} if "migration_type" in keys else keys)
    if "migration_type" in keys:
        path = f"/servers/{records[1].instance_uuid}/migrations/{records[1].id}"
        assert [link["href"] for link in by_id[numbers[1]]["links"]] == [
            f"http://api.example:8774/v2.1{path}",
            f"http://api.example:8774{path}",
        ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("host=h1", [2, 0]),
        ("host=h3", [1]),
        ("source_compute=h3", []),
        ("status=error", [0]),
        ("status=nonsense", []),
        ("migration_type=live-migration", [2, 1, 0]),
        ("migration_type=resize", []),
        ("hidden=True", []),
        (f"instance_uuid={conftest.UUID.format(1)}", [1]),
        ("user_id=maria", [0]),
        ("project_id=p2", [1]),
        ("changes-since=2999-01-01T00:00:00Z", []),
        ("changes-before=2999-01-01T00:00:00Z", [2, 1, 0]),
        ("limit=1", [2]),
        ("limit=0", []),
    ],
)
async def test_a_filter_shows_what_fits(cloud: conftest.Cloud, records: list[migration.Migration], query: str, found: list[int]) -> None:
    shown = (await cloud.get(f"/v2.1/os-migrations?{query}")).json()["migrations"]
    assert [one["id"] for one in shown] == [records[number].id for number in found]


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [
        ("nonsense=1", "2.58", 200),
        ("nonsense=1", "2.59", 400),
        ("changes-before=2999-01-01T00:00:00Z", "2.65", 400),
        ("project_id=p1", "2.79", 400),
        ("marker=7", "2.59", 400),
        (f"marker={conftest.UUID.format(9)}", "2.59", 400),
        ("changes-since=2999-01-01T00:00:00Z&changes-before=2000-01-01T00:00:00Z", "2.66", 400),
    ],
)
async def test_a_query_is_judged_by_its_version(cloud: conftest.Cloud, query: str, version: str, code: int) -> None:
    assert (await cloud.get(f"/v2.1/os-migrations?{query}", version)).status_code == code


async def test_pages_follow_their_links(cloud: conftest.Cloud, records: list[migration.Migration]) -> None:
    path: str | None = "/v2.1/os-migrations?limit=2&migration_type=live-migration"
    seen = []
    while path is not None:
        content = (await cloud.get(path)).json()
        seen += [one["id"] for one in content["migrations"]]
        path = content["migrations_links"][0]["href"] if "migrations_links" in content else None
    assert seen == [record.id for record in reversed(records)]


async def test_managers_see_their_projects_requests_without_hosts_if_they_ask_for_them(
    cloud: conftest.Cloud, records: list[migration.Migration]
) -> None:
    for query in ("", "?project_id=p2"):
        answer = await cloud.get(f"/v2.1/os-migrations{query}", token=conftest.MANAGER)
        assert answer.status_code == 403
        assert "os-migrations:index:all_projects to be performed. Send project_id=p1, which" in answer.json()["forbidden"]["message"]
    for name in ("host", "source_compute"):
        answer = await cloud.get(f"/v2.1/os-migrations?project_id=p1&{name}=h1", token=conftest.MANAGER)
        assert answer.status_code == 403
        assert "index:host to be performed. Send neither host nor source_compute." in answer.json()["forbidden"]["message"]
    shown = (await cloud.get("/v2.1/os-migrations?project_id=p1", token=conftest.MANAGER)).json()["migrations"]
    assert [one["id"] for one in shown] == [records[2].id, records[0].id]
    assert {one[key] for one in shown for key in one if key.startswith(("source_", "dest_"))} == {None}
    assert (await cloud.get("/v2.1/os-migrations?project_id=p1", token=conftest.MEMBER)).status_code == 403


async def test_reasons_are_shown_at_2_1000_and_to_managers_without_hosts(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    await cloud.migrate(server.uuid)
    found, _ = await cloud.open_operation(server.uuid)
    reason = migration.Reason(slug="destination_down", message="Compute service of h2 is unavailable at this time.", remedy="Look at h2.")
    await cloud.advance(found.id, event=states.Event.CHECK_FAILED, reason=reason)
    (row,) = (await cloud.get("/v2.1/os-migrations", "2.1000")).json()["migrations"]
    assert (row["reason"], row["reason_message"], row["remedy"]) == (reason.slug, reason.message, reason.remedy)
    (row,) = (await cloud.get(f"/v2.1/os-migrations?project_id={conftest.PROJECT}", "2.1000", token=conftest.MANAGER)).json()["migrations"]
    assert row["reason_message"] == "Compute service of the host is unavailable at this time."
    assert "h2" not in str(row)
    (row,) = (await cloud.get("/v2.1/os-migrations")).json()["migrations"]
    assert "reason" not in row
