# SPDX-License-Identifier: Apache-2.0
"""What servers are called, how they are described, and their tags, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.model import server as server_model

BORN = server_model.Birth(image_name="small", zone="nova")


async def _put(cloud: conftest.Cloud, uuid: str, server: dict[str, Any], version: str = "2.104", token: str = conftest.MEMBER) -> Any:
    return await cloud.request("PUT", f"/v2.1/servers/{uuid}", version, token=token, json={"server": server})


async def test_a_server_is_renamed_and_described(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, birth=BORN)
    asked = {
        "name": "other",
        "description": "words",
        "hostname": "other.example",
        "accessIPv4": "192.0.2.7",
        "accessIPv6": "2001:0db8:0:0::0007",
        "OS-DCF:diskConfig": "AUTO",
        "pinned_availability_zone": None,
    }
    answer = await _put(cloud, server.uuid, asked)
    assert answer.status_code == 200, answer.text
    shown = (await cloud.get(f"/v2.1/servers/{server.uuid}", token=conftest.MEMBER)).json()
    assert answer.json() == shown
    kept = {**asked, "accessIPv6": "2001:db8::7"}
    kept["OS-EXT-SRV-ATTR:hostname"] = kept.pop("hostname")
    assert {name: shown["server"][name] for name in kept} == kept
    assert (await _put(cloud, server.uuid, {"pinned_availability_zone": "nova"})).json()["server"]["pinned_availability_zone"] == "nova"
    assert (await _put(cloud, server.uuid, {"description": None})).json()["server"]["description"] is None
    assert (await _put(cloud, server.uuid, {})).json()["server"]["name"] == "other"


async def test_up_to_2_74_the_answer_has_less_than_show(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1, birth=BORN)
    old = (await _put(cloud, server.uuid, {"name": "a"}, "2.74", conftest.ADMIN)).json()["server"]
    new = (await _put(cloud, server.uuid, {"name": "a"}, "2.75", conftest.ADMIN)).json()["server"]
    assert old.keys() < new.keys()
    assert {"OS-EXT-STS:task_state", "OS-EXT-SRV-ATTR:host", "key_name", "host_status"} <= new.keys() - old.keys()
    assert {"name", "OS-DCF:diskConfig", "locked", "description", "tags", "server_groups"} <= old.keys()


@pytest.mark.parametrize(
    ("version", "server"),
    [
        ("2.104", {"name": ""}),
        ("2.104", {"name": " x"}),
        ("2.104", {"name": "n" * 256}),
        ("2.104", {"accessIPv4": "1.1.1.1.1"}),
        ("2.104", {"accessIPv4": "::1"}),
        ("2.104", {"accessIPv6": "notvalid"}),
        ("2.104", {"hostname": "-x"}),
        ("2.104", {"pinned_availability_zone": "elsewhere"}),
        ("2.104", {"OS-DCF:diskConfig": "auto"}),
        ("2.104", {"flavorRef": "1"}),
        ("2.103", {"pinned_availability_zone": None}),
        ("2.93", {"hostname": "a.b"}),
        ("2.18", {"description": "words"}),
    ],
)
async def test_what_cannot_be_changed_is_refused(cloud: conftest.Cloud, version: str, server: dict[str, Any]) -> None:
    made = await cloud.add_server(1, birth=BORN)
    assert (await _put(cloud, made.uuid, server, version)).status_code == 400


async def test_of_a_guest_that_was_found_only_the_description_is_changed(cloud: conftest.Cloud) -> None:
    found = await cloud.add_server(1)
    assert (await _put(cloud, found.uuid, {"description": "words"})).json()["server"]["description"] == "words"
    for asked in ({"name": "other"}, {"accessIPv4": "192.0.2.7"}, {"description": "more", "hostname": "other"}):
        refused = await _put(cloud, found.uuid, asked)
        assert (refused.status_code, "was found on its host" in refused.text) == (409, True)
    assert (await cloud.get(f"/v2.1/servers/{found.uuid}")).json()["server"]["description"] == "words"


async def test_tags_are_added_replaced_and_taken_away(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    path = f"/v2.1/servers/{server.uuid}/tags"

    async def ask(method: str, tag: str = "", body: Any = None) -> int:
        answer = await cloud.request(method, f"{path}{tag}", "2.26", token=conftest.MEMBER, json=body)
        return answer.status_code

    async def tags() -> list[str]:
        found: list[str] = (await cloud.get(path, "2.26", token=conftest.READER)).json()["tags"]
        assert (await cloud.get(f"/v2.1/servers/{server.uuid}")).json()["server"]["tags"] == found
        return found

    assert await tags() == []
    made = await cloud.request("PUT", f"{path}/a", "2.26", token=conftest.MEMBER)
    assert (made.status_code, made.headers["location"]) == (201, f"http://api.example:8774{path}/a")
    assert [await ask("PUT", "/a"), await ask("PUT", "/b c"), await ask("PUT", "/a")] == [201, 201, 201]
    assert await tags() == ["a", "b c"]
    assert [await ask("GET", "/a"), await ask("GET", "/z"), await ask("DELETE", "/z")] == [204, 404, 404]
    assert await ask("DELETE", "/a") == 204
    assert await tags() == ["b c"]
    assert await ask("PUT", "", {"tags": ["x", "y", "x"]}) == 200
    assert await tags() == ["x", "y"]
    assert [await ask("PUT", "", {"tags": ["a,b"]}), await ask("PUT", "/a,b"), await ask("PUT", "/" + "t" * 61)] == [400, 400, 400]
    assert await ask("PUT", "", {"tags": [str(number) for number in range(50)]}) == 200
    assert [await ask("PUT", "/3"), await ask("PUT", "/more")] == [201, 400]
    assert await ask("DELETE") == 204
    assert await tags() == []
    assert (await cloud.get(path, "2.25")).status_code == 404
