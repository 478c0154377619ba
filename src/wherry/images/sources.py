# SPDX-License-Identifier: Apache-2.0
"""The images that the configuration names. Reads no image."""

from __future__ import annotations

from wherry import config as configs
from wherry.images import base, directory


def from_config(config: configs.Config) -> base.Images:
    """Make what lists and fetches them."""
    if config.images.source == "directory":
        return directory.ImageDirectory(config.images.directory)
    from wherry.images import glance, service  # noqa: PLC0415 - brings Keystone's libraries along, which a directory does not need

    return service.ImageService(glance.Glance(config.keystone, config.images), config.images)
