# SPDX-License-Identifier: Apache-2.0
"""A server's metadata over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest


async def _ask(cloud: conftest.Cloud, method: str, path: str, body: Any = None, *, token: str = conftest.ADMIN) -> tuple[int, Any]:
    answer = await cloud.request(method, path, "2.104", token=token, json=body)
    return answer.status_code, answer.json() if answer.content else None


async def _metadata_of(cloud: conftest.Cloud, uuid: str) -> dict[str, str]:
    shown = (await cloud.get(f"/v2.1/servers/{uuid}")).json()["server"]["metadata"]
    assert (await cloud.get(f"/v2.1/servers/{uuid}/metadata")).json() == {"metadata": shown}
    return dict(shown)


async def test_items_are_added_replaced_set_and_deleted(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    path = f"/v2.1/servers/{server.uuid}/metadata"
    assert await _metadata_of(cloud, server.uuid) == {}
    assert await _ask(cloud, "POST", path, {"metadata": {"a": "1", "b c": "2"}}) == (200, {"metadata": {"a": "1", "b c": "2"}})
    assert await _ask(cloud, "POST", path, {"metadata": {"a": "3"}}) == (200, {"metadata": {"a": "3", "b c": "2"}})
    assert await _ask(cloud, "PUT", f"{path}/d", {"meta": {"d": "\u00e9"}}) == (200, {"meta": {"d": "\u00e9"}})
    assert await _ask(cloud, "GET", f"{path}/d") == (200, {"meta": {"d": "\u00e9"}})
    assert await _ask(cloud, "DELETE", f"{path}/b c") == (204, None)
    assert await _metadata_of(cloud, server.uuid) == {"a": "3", "d": "\u00e9"}
    assert await _ask(cloud, "PUT", path, {"metadata": {"only": ""}}) == (200, {"metadata": {"only": ""}})
    assert await _ask(cloud, "PUT", path, {"metadata": {}}) == (200, {"metadata": {}})
    assert await _metadata_of(cloud, server.uuid) == {}


@pytest.mark.parametrize(
    ("method", "item", "body", "code"),
    [
        ("POST", "", {"metadata": {"": "x"}}, 400),
        ("POST", "", {"metadata": {"k" * 256: "x"}}, 400),
        ("POST", "", {"metadata": {"k": "v" * 256}}, 400),
        ("POST", "", {"metadata": {"k": 1}}, 400),
        ("POST", "", {"metadata": {"k/l": "x"}}, 400),
        ("POST", "", {"meta": {}}, 400),
        ("PUT", "", {}, 400),
        ("PUT", "/k", {"meta": {"other": "x"}}, 400),
        ("PUT", "/k", {"meta": {"k": "x", "other": "x"}}, 400),
        ("PUT", "/k", {"meta": {}}, 400),
        ("GET", "/none", None, 404),
        ("DELETE", "/none", None, 404),
    ],
)
async def test_what_is_wrong_changes_nothing(cloud: conftest.Cloud, method: str, item: str, body: Any, code: int) -> None:
    server = await cloud.add_server(1, metadata={"k": "v"})
    assert (await _ask(cloud, method, f"/v2.1/servers/{server.uuid}/metadata{item}", body))[0] == code
    assert await _metadata_of(cloud, server.uuid) == {"k": "v"}


async def test_a_server_has_no_more_items_than_it_may(cloud: conftest.Cloud) -> None:
    most = cloud.api.parts.config.api.max_server_metadata_items
    assert (await cloud.get("/v2.1/limits")).json()["limits"]["absolute"]["maxServerMeta"] == most
    server = await cloud.add_server(1)
    path = f"/v2.1/servers/{server.uuid}/metadata"
    assert (await _ask(cloud, "POST", path, {"metadata": {str(number): "x" for number in range(most)}}))[0] == 200
    code, answer = await _ask(cloud, "PUT", f"{path}/more", {"meta": {"more": "x"}})
    assert (code, answer["forbidden"]["message"]) == (403, f"A server has {most} items of metadata at most. Send fewer, or delete some.")
    assert len(await _metadata_of(cloud, server.uuid)) == most


async def test_readers_read_and_locked_or_busy_servers_stay_as_they_are(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, metadata={"k": "v"})
    assert (await _ask(cloud, "POST", f"/v2.1/servers/{server.uuid}/action", {"lock": None}))[0] == 202
    path, more = f"/v2.1/servers/{server.uuid}/metadata", {"metadata": {"a": "b"}}
    assert (await _ask(cloud, "GET", path, token=conftest.READER))[0] == 200
    assert (await _ask(cloud, "POST", path, more, token=conftest.READER))[0] == 403
    assert (await _ask(cloud, "POST", path, more, token=conftest.MEMBER))[0] == 409
    busy = await cloud.add_server(2)
    assert (await cloud.migrate(busy.uuid)).status_code == 202
    assert (await _ask(cloud, "POST", f"/v2.1/servers/{busy.uuid}/metadata", more))[0] == 409
    assert await _metadata_of(cloud, server.uuid) == {"k": "v"}
