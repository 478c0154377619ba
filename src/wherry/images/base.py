# SPDX-License-Identifier: Apache-2.0
"""What whoever needs images is given: the list that an api shows, and the files that an agent builds from."""

from __future__ import annotations

import contextlib
from typing import Protocol

from wherry.model import image


class ImageList(Protocol):
    """What images there are.

    `token` is that of who asks, where it means anything: an image that he may not see is not there. Without one all are.
    """

    async def list(self, token: str = "") -> list[image.Image]:
        """Give all images by name.

        :raises ImagesUnavailable: when they cannot be read.
        """

    async def get(self, image_id: str, token: str = "") -> image.Image:
        """Give one image.

        :raises ImageNotFound: there is none.
        :raises ImageRefused: there is one that no server can be made from.
        :raises ImagesUnavailable: when they cannot be read.
        """


class ImageFiles(Protocol):
    """Images as files of this machine."""

    def fetch(self, wanted: image.Image) -> contextlib.AbstractAsyncContextManager[str]:
        """Give the path of a file with the image's bytes, which is there until the end of the block.

        Whoever reads it compares them with the checksum.

        :raises ImageNotFound: it is not here and cannot be had.
        :raises ImageRefused: its bytes are nothing that a host should read.
        :raises ImageCorrupt: they are not those of the checksum.
        :raises ImagesUnavailable: when it cannot be had now.
        """


class Images(ImageList, ImageFiles, Protocol):
    """Both."""
