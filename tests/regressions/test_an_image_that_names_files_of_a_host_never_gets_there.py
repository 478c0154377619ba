# SPDX-License-Identifier: Apache-2.0
"""An image in the directory that names other files was built from: only `wherry image add` looked, and files come there by hand, too."""

from __future__ import annotations

import pathlib
import struct

import pytest

from tests.functional.flow import making
from wherry.drivers import simulated
from wherry.images import directory
from wherry.testing import cloud as clouds

pytestmark = pytest.mark.virtual_time(limit_seconds=3600)

_BASED = struct.pack(">IIQIIQ", 0x514649FB, 3, 112, 11, 16, 1 << 30) + bytes(80) + b"/etc/shadow"


async def test_the_build_fails_and_says_why(make_cloud: clouds.MakeCloud, world: simulated.World) -> None:
    """On each host before anything is made there."""
    async with make_cloud(world) as cloud:
        before, files = making.guests_of(cloud), making.files_of(cloud)
        made = making.add_image(cloud)
        file = directory.ImageDirectory(cloud.config.images.directory).path_of(made.id)
        _replace(file)
        uuid, _ = await making.create(cloud, imageRef=made.id)
        await making.until_free(cloud, uuid)
        server = await making.show(cloud, uuid)
        assert server["status"] == "ERROR"
        assert "looks like qcow2" in server["fault"]["message"]
        assert (making.guests_of(cloud), making.files_of(cloud)) == (before, files)


def _replace(file: pathlib.Path) -> None:
    file.write_bytes(_BASED)
