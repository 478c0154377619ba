# SPDX-License-Identifier: Apache-2.0
"""Images in a directory: one file each, named by its id, and an index. Each machine that runs an agent needs the same directory.

`wherry image add` writes it; everybody else reads it, anew each time, so that an image is there as soon as it was added.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import os
import pathlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping

import pydantic

from wherry import errors
from wherry.images import inspection, qcow2
from wherry.model import image

INDEX = "index.json"
#: Held by who writes the index; empty.
_LOCK = ".lock"
_CHUNK_BYTES = 1 << 20
_ADAPTER = pydantic.TypeAdapter(dict[str, image.Image])


class ImageDirectory:
    """One directory of images.

    :param path: the directory; one that does not exist has no images.
    """

    def __init__(self, path: str) -> None:
        self._path = pathlib.Path(path)

    # -------------------------------------------------------------------- reading

    async def list(self, token: str = "") -> list[image.Image]:
        """Give all images by name."""
        del token  # what is in the directory is for everybody
        # Read in line: the index is small, and what is small is not worth a thread.
        return sorted(self._read().values(), key=lambda one: (one.name, one.id))

    async def get(self, image_id: str, token: str = "") -> image.Image:
        """Give one image."""
        del token
        found = self._read().get(image_id)
        if found is None:
            raise errors.ImageNotFound(image=image_id)
        return found

    @contextlib.asynccontextmanager
    async def fetch(self, wanted: image.Image) -> AsyncIterator[str]:
        """Give the path of its file."""
        path = self.path_of(wanted.id)
        try:
            with path.open("rb") as file:
                # Not only when it was added: files come into the directory by other ways, too.
                inspection.require_harmless(wanted.id, wanted.disk_format, file.read(inspection.HEAD_BYTES))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise errors.ImageNotFound(image=wanted.id) from error
        except OSError as error:
            raise errors.ImagesUnavailable(where=str(path), detail=str(error)) from error
        yield str(path)

    def path_of(self, image_id: str) -> pathlib.Path:
        """Give the file of an image."""
        return self._path / image_id

    def _read(self) -> dict[str, image.Image]:
        try:
            return _ADAPTER.validate_json((self._path / INDEX).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, pydantic.ValidationError) as error:
            raise errors.ImagesUnavailable(where=str(self._path / INDEX), detail=str(error)) from error

    # -------------------------------------------------------------------- writing

    def add(
        self,
        source: pathlib.Path,
        *,
        name: str,
        image_id: str | None = None,
        min_disk_gib: int = 0,
        min_ram_mib: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> image.Image:
        """Copy a file into the directory and list it.

        :raises ImagesUnavailable: when the file cannot be read or the directory not be written.
        :raises ImageRefused: when the image names other files, which a host would read, or is of a format that none can be.
        """
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            copied = self._copy(source, image_id or str(uuid.uuid4()))
        except OSError as error:
            raise errors.ImagesUnavailable(where=str(self._path), detail=str(error)) from error
        made = dataclasses.replace(copied, name=name, min_disk_gib=min_disk_gib, min_ram_mib=min_ram_mib, properties=dict(properties or {}))
        with self._alone():
            self._write(self._read() | {made.id: made})
        return made

    def remove(self, image_id: str) -> None:
        """Take an image off the list and delete its file. Servers that were made from it keep what they have.

        :raises ImageNotFound: there is none.
        """
        if image_id not in self._read():
            raise errors.ImageNotFound(image=image_id)
        with self._alone():
            images = self._read()
            if images.pop(image_id, None) is None:
                raise errors.ImageNotFound(image=image_id)
            self._write(images)
        self.path_of(image_id).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers of the index away, also those in other processes."""
        try:
            with (self._path / _LOCK).open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise errors.ImagesUnavailable(where=str(self._path / _LOCK), detail=str(error)) from error

    def _copy(self, source: pathlib.Path, image_id: str) -> image.Image:
        """Copy by a file that nobody looks at, so that a half one is never taken for an image."""
        digest = hashlib.sha256()
        size = 0
        with source.open("rb") as reader, tempfile.NamedTemporaryFile(dir=self._path, prefix=".", delete=False) as writer:
            try:
                begin = reader.read(inspection.HEAD_BYTES)
                header = qcow2.read(begin)
                disk_format = "raw" if header is None else "qcow2"
                inspection.require_harmless(str(source), disk_format, begin)
                reader.seek(0)
                while chunk := reader.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
                # An agent that is not root reads it; who may enter the directory is for its owner to say.
                os.fchmod(writer.fileno(), 0o644)
                pathlib.Path(writer.name).replace(self.path_of(image_id))
            except BaseException:
                pathlib.Path(writer.name).unlink(missing_ok=True)
                raise
        return image.Image(
            id=image_id,
            name="",
            size_bytes=size,
            checksum=digest.hexdigest(),
            virtual_bytes=size if header is None else header.virtual_bytes,
            disk_format=disk_format,
            created_at=_now(),
        )

    def _write(self, images: Mapping[str, image.Image]) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._path, prefix=".", delete=False) as writer:
                writer.write(_ADAPTER.dump_json(dict(images), indent=2))
                writer.flush()
                os.fsync(writer.fileno())
            pathlib.Path(writer.name).chmod(0o644)
            pathlib.Path(writer.name).replace(self._path / INDEX)
        except OSError as error:
            raise errors.ImagesUnavailable(where=str(self._path), detail=str(error)) from error


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
