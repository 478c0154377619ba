# SPDX-License-Identifier: Apache-2.0
"""[images]: what servers can be made from.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from wherry.config import option as opt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImagesSection:
    """Options of [images]."""

    SECTION: ClassVar[str] = "images"
    ABOUT: ClassVar[str] = "The images that servers are made from."

    source: str = opt.option(
        "directory",
        "Where they are: in a directory, or in the image service (Glance) of the identity service's catalog. glance needs [keystone].",
        constraint=opt.one_of("directory", "glance"),
    )
    directory: str = opt.option(
        "",
        "Directory of image files and their index, which `wherry image add` fills. The api reads its index, an agent its files: "
        "every machine that runs one of them needs the same directory.",
        derived="STATE_PATH/images",
    )
    glance_interface: str = opt.option(
        "internal",
        "Which endpoint of the image service in the catalog is used.",
        constraint=opt.one_of("internal", "public", "admin"),
    )
    glance_region_name: str | None = opt.option(None, "Region of that endpoint. Nothing: the first in the catalog.")
    download_directory: str = opt.option(
        "",
        "Directory in which an agent keeps an image of the image service while it brings it to a host. It must have room for the images "
        "that come at one time, and nothing else in it.",
        derived="STATE_PATH/downloads",
    )
    glance_request_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait for a connection to the image service, and for each part of its answer.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    glance_download_timeout_seconds: float = opt.option(
        1800.0,
        "Longest time for one image to come from the image service.",
        constraint=opt.at_least(1.0),
        unit="seconds",
    )
    glance_threads: int = opt.option(
        4,
        "Most requests to the image service at one time, downloads included; further ones wait.",
        constraint=opt.at_least(1, 64),
        unit="threads",
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        return ()
