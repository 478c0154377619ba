# SPDX-License-Identifier: Apache-2.0
"""`wherry image`: look after the directory of images that servers are made from."""

from __future__ import annotations

import argparse
import asyncio
import pathlib
import uuid
from collections.abc import Sequence

from wherry import config, errors
from wherry.images import directory, sources


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `wherry image add` takes."""
    parser.add_argument("file", type=pathlib.Path, help="the image, qcow2 without an image below it, or raw")
    parser.add_argument("--name", help="its name (default: that of the file)")
    parser.add_argument("--id", type=_uuid, help="its id, a uuid (default: a new one)")
    parser.add_argument("--min-disk", type=int, default=0, metavar="GIB", help="least disk of flavors that it may be used with")
    parser.add_argument("--min-ram", type=int, default=0, metavar="MIB", help="least memory of flavors that it may be used with")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE", help="shown with the image; may be repeated")


def add(arguments: argparse.Namespace) -> int:
    """Copy a file into the directory and say its id."""
    properties = dict(_pair(text) for text in arguments.property)
    made = _images(arguments.config_file).add(
        arguments.file,
        name=arguments.name or arguments.file.name,
        image_id=arguments.id,
        min_disk_gib=arguments.min_disk,
        min_ram_mib=arguments.min_ram,
        properties=properties,
    )
    print(made.id)
    return 0


def show_all(arguments: argparse.Namespace) -> int:
    """Print id, format, size and name of each image, one a line."""
    for one in asyncio.run(sources.from_config(config.load(arguments.config_file)).list()):
        print(f"{one.id}  {one.disk_format:5}  {one.size_bytes:12}  {one.name}")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Take an image off the list and delete its file."""
    _images(arguments.config_file).remove(arguments.id)
    return 0


def _images(config_files: Sequence[str]) -> directory.ImageDirectory:
    section = config.load(config_files).images
    if section.source != "directory":
        raise errors.ConfigInvalid(
            where="[images] source",
            problem=f"the images are those of {section.source}, which this command does not change",
            instead="Write `openstack image create`, `openstack image delete`.",
        )
    return directory.ImageDirectory(section.directory)


def _uuid(text: str) -> str:
    return str(uuid.UUID(text))


def _pair(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there or not name:
        raise errors.ConfigInvalid(where="--property", problem=f"{text!r} is no NAME=VALUE", instead="Write --property os_distro=debian.")
    return name, value
