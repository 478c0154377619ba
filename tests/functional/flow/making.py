# SPDX-License-Identifier: Apache-2.0
"""How the tests of the flow make and delete servers."""

from __future__ import annotations

import pathlib
from typing import Any

import httpx

from wherry.images import directory
from wherry.model import image, instance_actions
from wherry.testing import cloud as clouds

FLAVOR = "1"


def add_image(cloud: clouds.Cloud, name: str = "tiny", **fields: Any) -> image.Image:
    """Put an image of a few bytes into the cloud's directory."""
    file = pathlib.Path(cloud.directory) / f"{name}.raw"
    file.write_bytes(b"a guest's disk")
    return directory.ImageDirectory(cloud.config.images.directory).add(file, name=name, **fields)


async def ask(cloud: clouds.Cloud, *, version: str = "2.90", **fields: Any) -> httpx.Response:
    """Ask for a server of the smallest flavor, from an image that is made where none is named."""
    body: dict[str, Any] = {"name": "new", "flavorRef": FLAVOR, "networks": "none"} | fields
    body.setdefault("imageRef", add_image(cloud).id)
    if tuple(map(int, version.split("."))) < (2, 37):
        del body["networks"]
    return await cloud.request("POST", "/v2.1/servers", version=version, json={"server": body})


async def create(cloud: clouds.Cloud, **fields: Any) -> tuple[str, str]:
    """Ask for a server; give its id and the request's."""
    answer = await ask(cloud, **fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["server"]["id"], answer.headers["x-openstack-request-id"]


async def show(cloud: clouds.Cloud, uuid: str, version: str = "2.90") -> dict[str, Any]:
    """Give a server as the API shows it."""
    return dict((await cloud.request("GET", f"/v2.1/servers/{uuid}", version=version)).json()["server"])


async def until_free(cloud: clouds.Cloud, uuid: str, *, seconds: float = 600.0) -> None:
    """Wait until no operation holds the server."""

    async def is_free() -> bool:
        return await cloud.store.read(lambda uow: uow.operations.open_of_instance(uuid)) is None

    await cloud.until(is_free, seconds=seconds)


async def delete(cloud: clouds.Cloud, uuid: str) -> str:
    """Ask for a deletion; give the request's id."""
    answer = await cloud.request("DELETE", f"/v2.1/servers/{uuid}")
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    return answer.headers["x-openstack-request-id"]


async def events(cloud: clouds.Cloud, uuid: str, request_id: str) -> list[tuple[str, str, str | None]]:
    """Give name, host and result of each event of a request, oldest first; all of them are over."""
    action: instance_actions.InstanceAction = await cloud.store.read(lambda uow: uow.actions.get(uuid, request_id))
    assert all(event.finished_at is not None for event in action.events), action
    told = sorted(action.events, key=lambda one: one.id)
    return [(event.name, event.host, event.result.value if event.result else None) for event in told]


def guests_of(cloud: clouds.Cloud) -> dict[str, list[str]]:
    """Give the uuids of the guests that each host has."""
    return {name: sorted(host.guests) for name, host in cloud.world.hosts.items()}


def files_of(cloud: clouds.Cloud) -> dict[str, list[str]]:
    """Give the names of the files of each store."""
    stores = {store.name: store for host in cloud.world.hosts.values() for store in host.stores.values()}
    return {name: sorted(store.files) for name, store in stores.items()}
