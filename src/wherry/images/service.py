# SPDX-License-Identifier: Apache-2.0
"""The images of an image service: asked in threads, each image fetched once however many wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import IO, TypeVar

from wherry import config, errors
from wherry.images import downloads, glance
from wherry.model import image

T = TypeVar("T")
_Key = tuple[str, str]


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class _Shared:
    """One download and those who wait for it or read it."""

    task: asyncio.Task[IO[bytes]]
    #: Ends it.
    stop: threading.Event
    users: int = 0


class ImageService:
    """The images of one image service."""

    def __init__(self, service: glance.Glance, section: config.ImagesSection) -> None:
        self._service = service
        self._section = section
        self._directory = pathlib.Path(section.download_directory)
        self._pool = concurrent.futures.ThreadPoolExecutor(section.glance_threads, thread_name_prefix="glance")
        #: By id and checksum: the bytes of an id may have been others.
        self._shared: dict[_Key, _Shared] = {}

    async def list(self, token: str = "") -> list[image.Image]:
        """Give all images by name that a server can be made from."""
        found = await self._in_thread(lambda: self._service.list(token))
        return sorted(found, key=lambda one: (one.name, one.id))

    async def get(self, image_id: str, token: str = "") -> image.Image:
        """Give one image."""
        return await self._in_thread(lambda: self._service.show(image_id, token))

    @contextlib.asynccontextmanager
    async def fetch(self, wanted: image.Image) -> AsyncIterator[str]:
        """Give the path of a file with its bytes."""
        key = (wanted.id, wanted.checksum)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = self._begin(wanted)
            shared.task.add_done_callback(lambda _: self._ended(key, shared))
        shared.users += 1
        try:
            # One who goes away does not take it from the others.
            file = await asyncio.shield(shared.task)
            yield file.name
        finally:
            shared.users -= 1
            if not shared.users:
                shared.stop.set()
                self._forget(key, shared)
                if shared.task.done() and not shared.task.cancelled() and shared.task.exception() is None:
                    downloads.remove(shared.task.result())

    def _begin(self, wanted: image.Image) -> _Shared:
        stop = threading.Event()
        return _Shared(task=asyncio.create_task(self._download(wanted, stop), name=f"download {wanted.id}"), stop=stop)

    async def _download(self, wanted: image.Image, stop: threading.Event) -> IO[bytes]:
        seconds = self._section.glance_download_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(lambda: downloads.write(self._directory, wanted, self._service.read(wanted.id), stop))
        except TimeoutError:
            # The thread ends with the next part, or with the time-out of its request.
            stop.set()
            detail = f"{wanted.size_bytes} bytes did not come within {seconds:g} s"
            raise errors.ImagesUnavailable(where="the image service", detail=detail) from None

    def _ended(self, key: _Key, shared: _Shared) -> None:
        task = shared.task
        if task.cancelled() or task.exception() is not None:
            # Who comes now begins anew.
            self._forget(key, shared)
        elif not shared.users:
            downloads.remove(task.result())

    def _forget(self, key: _Key, shared: _Shared) -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
