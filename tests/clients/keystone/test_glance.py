# SPDX-License-Identifier: Apache-2.0
"""Servers from the images of a real Glance, which believes a real Keystone."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.clients import service as services
from wherry import config, errors
from wherry.images import glance as glance_client
from wherry.images import service as image_service
from wherry.testing import glance as glances
from wherry.testing import keystone as keystones

pytestmark = pytest.mark.slow

_CONTENT = os.urandom((1 << 20) + 3)
_CONFIGURATION = """
[api]
auth_strategy = keystone
[agent]
default_project_id = {project}
[images]
source = glance
glance_interface = public
[keystone]
auth_url = {url}
username = admin
password = {password}
project_name = admin
"""


@pytest.fixture(scope="module")
def glance(
    keystone: keystones.Keystone, tmp_path_factory: pytest.TempPathFactory, require_real: Callable[[str, str | None], None]
) -> Iterator[glances.Glance]:
    require_real("Glance", glances.missing())
    started = glances.Glance(tmp_path_factory.mktemp("glance"), keystone.url, "wherry", keystones.PASSWORD)
    try:
        started.start()
        keystone.register("image", "glance", started.url)
        yield started
    finally:
        started.close()


def _images(keystone: keystones.Keystone, folder: pathlib.Path, user: str, project: str) -> image_service.ImageService:
    login = config.KeystoneSection(
        auth_url=keystone.url, username=user, password=keystones.PASSWORD, project_name=project, connect_retries=0
    )
    section = config.ImagesSection(source="glance", glance_interface="public", download_directory=str(folder))
    return image_service.ImageService(glance_client.Glance(login, section), section)


def _read(path: str) -> bytes:
    return pathlib.Path(path).read_bytes()


def test_images_are_listed_and_fetched(keystone: keystones.Keystone, glance: glances.Glance, tmp_path: pathlib.Path) -> None:
    """A private one by administrators and its project only; what the service has computed is what is compared."""
    owner, stranger = keystone.token("member", "home"), keystone.token("frank", "foreign")
    public = glance.add(keystone.admin, _CONTENT, name="public", visibility="public", os_distro="debian", min_ram=64)
    private = glance.add(owner, _CONTENT[:-1], name="private")

    async def body() -> None:
        images = _images(keystone, tmp_path, "admin", "admin")
        assert {public, private} <= {one.id for one in await images.list()}
        assert {public, private} <= {one.id for one in await images.list(owner)}
        assert [one.id for one in await images.list(stranger)] == [public]
        with pytest.raises(errors.ImageNotFound):
            await images.get(private, stranger)
        with pytest.raises(errors.ImageNotFound):
            await images.get("ffffffff-0000-4000-8000-000000000000", owner)
        wanted = await images.get(public, stranger)
        assert (wanted.name, wanted.size_bytes, wanted.min_ram_mib) == ("public", len(_CONTENT), 64)
        assert wanted.properties["os_distro"] == "debian"
        assert (wanted.checksum_algorithm, wanted.checksum) == ("sha512", hashlib.sha512(_CONTENT).hexdigest())
        for one in (wanted, await images.get(private, owner)):
            async with images.fetch(one) as path:
                assert hashlib.sha512(_read(path)).hexdigest() == one.checksum
        # The role that validates tokens reads nothing of others.
        with pytest.raises(errors.ImageNotFound):
            await _images(keystone, tmp_path, "wherry", "service").get(private)

    asyncio.run(body())
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_made_from_an_image_that_its_maker_may_see(
    keystone: keystones.Keystone, glance: glances.Glance, tmp_path: pathlib.Path
) -> None:
    private = glance.add(keystone.token("member", "home"), _CONTENT, name="own")
    configuration = _CONFIGURATION.format(url=keystone.url, password=keystones.PASSWORD, project=keystone.projects["home"])
    with (
        services.running(tmp_path, configuration, keystone.admin) as wherry,
        httpx.Client(base_url=wherry.base, timeout=30.0) as http,
    ):

        def create(user: str, project: str, image_id: str) -> httpx.Response:
            body = {"server": {"name": "made", "imageRef": image_id, "flavorRef": "1", "networks": "none"}}
            headers = {"X-Auth-Token": keystone.token(user, project), "OpenStack-API-Version": "compute 2.100"}
            return http.post("/v2.1/servers", json=body, headers=headers)

        refused = create("frank", "foreign", private)
        assert (refused.status_code, "Can not find requested image" in refused.text) == (400, True)
        made = create("manager", "home", private)
        assert made.status_code == 202, made.text
        wherry.until(lambda: wherry.server("made")["status"] == "ACTIVE", "the server to be made")
        queued = glance.http.post(
            "/v2/images",
            json={"name": "empty", "disk_format": "raw", "container_format": "bare"},
            headers={"X-Auth-Token": keystone.token("member", "home")},
        ).json()["id"]
        assert "it is queued, not active" in create("manager", "home", queued).text
        glance.kill()
        away = create("manager", "home", private)
        assert away.status_code == 503, away.text
        assert "The images cannot be reached at the image service" in away.text
