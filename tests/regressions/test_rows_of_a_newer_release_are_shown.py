# SPDX-License-Identifier: Apache-2.0
"""One row with a state that only a newer release knows made every list that held it a 500, in each api of the older release."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.functional.api import conftest as over_http
from wherry.db import store as stores
from wherry.model import migration
from wherry.model import operation as model

cloud = over_http.cloud
empty_database = over_http.empty_database

_NEWER = (
    "UPDATE servers SET vm_state = 'shelved', task_state = 'unshelving', power_state = 99",
    "UPDATE operations SET kind = 'evacuation', step = 'warm_up', request = '{\"kind\": \"evacuation\"}'",
    "UPDATE migrations SET status = 'warming up', migration_type = 'teleport'",
    "INSERT INTO intents (operation_id, kind, request_id, requested_at) SELECT id, 'hibernate', 'req-newer', created_at FROM operations",
    "UPDATE instance_actions SET action = 'teleport'",
    "INSERT INTO instance_events (action_id, name, host, started_at, finished_at, result)"
    " SELECT id, 'compute_teleport', 'h1', started_at, started_at, 'Maybe' FROM instance_actions",
)


def _saying(statement: str) -> stores.Unit[int]:
    return lambda uow: uow.session.change(sa.text(statement))


async def _strange(cloud: over_http.Cloud) -> tuple[str, migration.Migration]:
    """Give a server and its migration of which everything is in a state that this release does not know; another is as usual."""
    server = await cloud.add_server(1)
    assert (await cloud.migrate(server.uuid)).status_code == 202
    _, record = await cloud.open_operation(server.uuid)
    for said in _NEWER:
        assert await cloud.store.run(_saying(said)) >= 1
    await cloud.add_server(2)
    return server.uuid, record


@pytest.mark.parametrize("version", ["2.1", "2.104", "2.1000"])
async def test_all_that_shows_them(cloud: over_http.Cloud, version: str) -> None:
    uuid, record = await _strange(cloud)
    answers = {}
    for path in (
        "/v2.1/servers",
        "/v2.1/servers/detail",
        f"/v2.1/servers/{uuid}",
        f"/v2.1/servers/{uuid}/os-instance-actions",
        "/v2.1/os-migrations",
        f"/v2.1/servers/{uuid}/migrations",
        "/v2.1/os-hypervisors/detail",
        "/v2.1/os-services",
    ):
        if version == "2.1" and path.endswith("/migrations"):
            continue
        answers[path] = await cloud.get(path, version)
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    shown = answers[f"/v2.1/servers/{uuid}"].json()["server"]
    states = {name: shown[f"OS-EXT-STS:{name}"] for name in ("vm_state", "task_state", "power_state")}
    assert (shown["status"], states) == ("UNKNOWN", {"vm_state": "shelved", "task_state": "unshelving", "power_state": 99})
    assert {one["status"] for one in answers["/v2.1/servers/detail"].json()["servers"]} == {"UNKNOWN", "ACTIVE"}
    assert [one["status"] for one in answers["/v2.1/os-migrations"].json()["migrations"]] == ["warming up"]
    (action,) = answers[f"/v2.1/servers/{uuid}/os-instance-actions"].json()["instanceActions"]
    assert action["action"] == "teleport"
    told = (await cloud.get(f"/v2.1/servers/{uuid}/os-instance-actions/{action['request_id']}", version)).json()["instanceAction"]
    assert [(one["event"], one["result"]) for one in told["events"]] == [("compute_teleport", "Maybe")]
    if version == "2.1000":
        assert (await cloud.get(f"/v2.1/servers/{uuid}/migrations/{record.id}", version)).status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"os-migrateLive": {"host": None, "block_migration": "auto"}}, 409),
        ({"migrate": None}, 409),
        ({"resize": {"flavorRef": "1"}}, 409),
        ({"confirmResize": None}, 409),
        ({"pause": None}, 409),
        ({"os-stop": None}, 409),
        ({"lock": None}, 202),
        ({"os-resetState": {"state": "active"}}, 202),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
)
async def test_what_is_asked_of_such_a_server_is_answered(cloud: over_http.Cloud, body: dict[str, object], code: int) -> None:
    uuid, _ = await _strange(cloud)
    answer = await cloud.request("POST", f"/v2.1/servers/{uuid}/action", json=body)
    assert answer.status_code == code, answer.text
    assert code == 202 or "shelved" in answer.text


async def test_it_can_be_deleted(cloud: over_http.Cloud) -> None:
    uuid, record = await _strange(cloud)
    assert (await cloud.request("DELETE", f"/v2.1/servers/{uuid}")).status_code == 204
    wanted = await cloud.store.read(lambda uow: uow.operations.pending_intents(record.uuid))
    assert [one.kind for one in wanted] == [model.IntentKind.ABORT, model.IntentKind.DELETE]


async def test_its_migration_is_neither_aborted_nor_forced(cloud: over_http.Cloud) -> None:
    uuid, record = await _strange(cloud)
    path = f"/v2.1/servers/{uuid}/migrations/{record.id}"
    aborted = await cloud.request("DELETE", path)
    assert (aborted.status_code, "is warming up. Cannot abort" in aborted.text) == (400, True)
    forced = await cloud.request("POST", f"{path}/action", json={"force_complete": None})
    assert (forced.status_code, "vm_state shelved" in forced.text) == (409, True)
