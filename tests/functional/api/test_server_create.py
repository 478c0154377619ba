# SPDX-License-Identifier: Apache-2.0
"""Bodies of new servers in each version, what is refused and why, who may what, and what is recorded before anybody builds."""

from __future__ import annotations

import pathlib
from typing import Any

import httpx
import pytest

from tests.functional.api import conftest
from wherry.model import operation
from wherry.model import server as server_model

NEW: dict[str, Any] = {"name": "new", "imageRef": conftest.IMAGE, "flavorRef": "1"}
LATER = {**NEW, "networks": "none"}


@pytest.fixture(autouse=True)
def image(cloud: conftest.Cloud, tmp_path: pathlib.Path) -> None:
    """The image that the bodies name, which needs a little memory and disk."""
    conftest.add_image(cloud, tmp_path / "image.raw", min_disk_gib=1, min_ram_mib=512)


async def _create(
    cloud: conftest.Cloud, server: Any, version: str = "2.104", *, token: str = conftest.MEMBER, hints: Any = None
) -> httpx.Response:
    body = {"server": server} | ({"os:scheduler_hints": hints} if hints is not None else {})
    return await cloud.request("POST", "/v2.1/servers", version, token=token, json=body)


@pytest.mark.parametrize(
    ("version", "server", "code"),
    [
        ("2.1", NEW, 202),
        ("2.1", {**NEW, "flavorRef": 1}, 202),
        ("2.1", {**NEW, "networks": []}, 202),
        ("2.1", {**NEW, "adminPass": "secret", "metadata": {"a": "b"}, "OS-DCF:diskConfig": "AUTO"}, 202),
        ("2.1", {**NEW, "security_groups": [{"name": "default"}], "config_drive": False, "personality": []}, 202),
        ("2.1", {**NEW, "block_device_mapping_v2": [{"uuid": conftest.IMAGE, "source_type": "image", "boot_index": 0}]}, 202),
        ("2.1", {**NEW, "description": "words"}, 400),
        ("2.19", {**NEW, "description": "words"}, 202),
        ("2.36", {**NEW, "networks": "none"}, 400),
        ("2.37", NEW, 400),
        ("2.37", {**NEW, "networks": "auto"}, 202),
        ("2.51", {**LATER, "tags": ["a"]}, 400),
        ("2.52", {**LATER, "tags": ["a"]}, 202),
        ("2.52", {**LATER, "tags": ["a,b"]}, 400),
        ("2.57", {**LATER, "personality": []}, 400),
        ("2.73", {**LATER, "hostname": "h1"}, 400),
        ("2.89", {**LATER, "hostname": "web"}, 400),
        ("2.90", {**LATER, "hostname": "web"}, 202),
        ("2.90", {**LATER, "hostname": "web.example"}, 400),
        ("2.94", {**LATER, "hostname": "web.example"}, 202),
        ("2.1", {**NEW, "name": ""}, 400),
        ("2.1", {**NEW, "other": 1}, 400),
        ("2.1", {**NEW, "metadata": {"a": 1}}, 400),
        ("2.1", {**NEW, "min_count": 0}, 400),
        ("2.1", {**NEW, "min_count": 3, "max_count": 2}, 400),
        ("2.1", {**NEW, "max_count": 101}, 400),
        ("2.1", {"name": "new", "imageRef": conftest.IMAGE}, 400),
        ("2.1", None, 400),
    ],
)
async def test_a_body_is_judged_by_its_version(cloud: conftest.Cloud, version: str, server: Any, code: int) -> None:
    answer = await _create(cloud, server, version)
    assert answer.status_code == code, answer.text


async def test_several_at_once_are_numbered_in_name_and_host_name(cloud: conftest.Cloud) -> None:
    """Two guests of one host name would quarrel in every name service."""
    assert (await _create(cloud, {**LATER, "hostname": "web", "min_count": 2, "max_count": 3}, "2.90")).status_code == 202
    listed = (await cloud.request("GET", "/v2.1/servers/detail", version="2.90", token=conftest.ADMIN)).json()["servers"]
    assert sorted((one["name"], one["OS-EXT-SRV-ATTR:hostname"]) for one in listed) == [
        (f"{LATER['name']}-{number}", f"web-{number}") for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({**LATER, "networks": [{"uuid": conftest.IMAGE}]}, "no network service"),
        ({**LATER, "key_name": "mine"}, "no key pairs"),
        ({**LATER, "user_data": "eA=="}, "neither a metadata service"),
        ({**LATER, "config_drive": True}, "no configuration drives"),
        ({**LATER, "block_device_mapping_v2": [{"uuid": conftest.IMAGE, "source_type": "volume"}]}, "no volumes"),
        ({**LATER, "security_groups": [{"name": "web"}]}, "only default"),
        ({**LATER, "imageRef": ""}, "Invalid imageRef"),
        ({**LATER, "imageRef": conftest.UUID.format(1)}, "Can not find requested image"),
        ({**LATER, "flavorRef": "77"}, "Flavor 77 could not be found"),
        ({**LATER, "flavorRef": "c1-m256-d1"}, "memory is too small"),
        ({**LATER, "availability_zone": "mars"}, "availability zone is not available"),
    ],
)
async def test_what_cannot_be_had_is_refused_with_the_reason(cloud: conftest.Cloud, server: Any, says: str) -> None:
    answer = await _create(cloud, server)
    assert (answer.status_code, says in answer.json()["badRequest"]["message"]) == (400, True), answer.text
    assert (await cloud.get("/v2.1/servers")).json()["servers"] == [], "nothing was recorded"


async def test_an_image_that_does_not_fit_is_refused(cloud: conftest.Cloud, tmp_path: pathlib.Path) -> None:
    big = conftest.add_image(cloud, tmp_path / "big.raw", image_id=conftest.UUID.format(9), min_disk_gib=2)
    answer = await _create(cloud, {**LATER, "imageRef": big.id})
    assert (answer.status_code, "disk is too small" in answer.text) == (400, True)


@pytest.mark.parametrize(
    ("server", "token", "code"),
    [
        ({**LATER, "availability_zone": "nova:h1"}, conftest.MEMBER, 403),
        ({**LATER, "availability_zone": "nova:h1"}, conftest.ADMIN, 202),
        ({**LATER, "availability_zone": "nova:h9"}, conftest.ADMIN, 400),
        ({**LATER, "availability_zone": "a:b:c:d"}, conftest.ADMIN, 400),
        ({**LATER, "host": "h1"}, conftest.MEMBER, 403),
        ({**LATER, "host": "h1"}, conftest.ADMIN, 202),
        ({**LATER, "hypervisor_hostname": "nothing"}, conftest.ADMIN, 400),
        (LATER, conftest.READER, 403),
    ],
)
async def test_only_who_may_name_hosts_does(cloud: conftest.Cloud, server: Any, token: str, code: int) -> None:
    answer = await _create(cloud, server, token=token)
    assert answer.status_code == code, answer.text


async def test_what_was_asked_for_is_recorded_before_the_answer_leaves(cloud: conftest.Cloud) -> None:
    group = await cloud.request(
        "POST", "/v2.1/os-server-groups", token=conftest.MEMBER, json={"server_group": {"name": "g", "policy": "affinity"}}
    )
    group_id = group.json()["server_group"]["id"]
    answer = await _create(cloud, {**LATER, "name": "My Server", "availability_zone": "nova", "tags": ["a"]}, hints={"group": group_id})
    body = answer.json()["server"]
    assert set(body) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    found = await cloud.store.read(lambda uow: uow.operations.open_of_instance(body["id"]))
    assert found is not None
    assert (found.kind, found.request_id) == (operation.OperationKind.BUILD, answer.headers["x-openstack-request-id"])
    server = await cloud.store.read(lambda uow: uow.servers.get(body["id"]))
    assert (server.vm_state, server.task_state, server.hostname) == (
        *(server_model.VmState.BUILDING, server_model.TaskState.SCHEDULING),
        "my-server",
    )
    shown = (await cloud.get(f"/v2.1/servers/{body['id']}", token=conftest.MEMBER)).json()["server"]
    assert (shown["status"], shown["image"]["properties"], shown["tags"]) == ("BUILD", {"os": "none"}, ["a"])
    assert (shown["scheduler_hints"], shown["server_groups"], shown["pinned_availability_zone"]) == (
        {"group": group_id},
        [group_id],
        "nova",
    )
    # Nothing else may be done to it meanwhile but to delete it.
    path = f"/v2.1/servers/{body['id']}"
    assert (await cloud.request("POST", f"{path}/action", token=conftest.MEMBER, json={"reboot": {"type": "HARD"}})).status_code == 409
    assert (await cloud.request("DELETE", path, token=conftest.READER)).status_code == 403
    assert (await cloud.request("DELETE", path, token=conftest.FOREIGN_MANAGER)).status_code == 404
    assert (await cloud.request("DELETE", path, token=conftest.MEMBER)).status_code == 204


async def test_a_locked_server_is_deleted_by_administrators_only(cloud: conftest.Cloud) -> None:
    server = await cloud.add_server(1)
    path = f"/v2.1/servers/{server.uuid}"
    assert (await cloud.request("POST", f"{path}/action", json={"lock": None})).status_code == 202
    assert (await cloud.request("DELETE", path, token=conftest.MEMBER)).status_code == 409
    assert (await cloud.request("DELETE", path)).status_code == 204


async def test_images_are_shown_up_to_2_35(cloud: conftest.Cloud) -> None:
    for path in ("images", "images/detail"):
        listed = (await cloud.get(f"/v2.1/{path}", "2.35", token=conftest.READER)).json()["images"]
        assert [one["id"] for one in listed] == [conftest.IMAGE]
    shown = (await cloud.get(f"/v2.1/images/{conftest.IMAGE}", "2.1")).json()["image"]
    assert (shown["name"], shown["minRam"], shown["metadata"]) == ("tiny", 512, {"os": "none"})
    assert (await cloud.get(f"/v2.1/images/{conftest.IMAGE}", "2.36")).status_code == 404
    assert (await cloud.get("/v2.1/images/none", "2.35")).status_code == 404
