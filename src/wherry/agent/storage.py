# SPDX-License-Identifier: Apache-2.0
"""Where the journal's notes lie: files of one directory that one agent has for itself.

Knows nothing of what the notes say.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import Protocol, TypeVar

from wherry import errors

T = TypeVar("T")

_LOCK = "lock"
#: Earlier holders that the lock's file names: more of them would have to die one after the other before any silence is over.
MOST_HOLDERS = 16
_SUFFIX = ".json"
#: What room on the disk mends.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Storage(Protocol):
    """What the journal asks of its place. A simulation has one of its own, which forgets at a kill what was not synced."""

    async def lock(self, holder: str) -> tuple[str, ...]:
        """Take the place, leaving `holder` for later ones to read; give who had it before, the last of them last.

        :raises JournalLocked: when another process has it, naming that one.
        :raises ConfigInvalid: there can be no journal in that place; JournalUnwritable: not now, the disk being full.
        """

    async def unlock(self) -> None:
        """Give the place back. Idempotent."""

    async def read_all(self) -> dict[str, bytes]:
        """Give every note by its name."""

    async def write(self, name: str, data: bytes, *, is_synced: bool) -> None:
        """Put a note in place of the one of that name, whole or not at all; `is_synced`: it survives a power failure when this returns.

        :raises JournalUnwritable: the disk is full, say; the note of that name is as it was.
        """

    async def remove(self, name: str) -> None:
        """Remove a note; one that is gone is fine."""

    async def set_aside(self, name: str) -> None:
        """Keep an unreadable note for a person to see, out of read_all's way."""


class FileStorage:
    """Notes as files.

    :param is_synced: whether synced writes really are ([agent] journal_fsync).
    :param is_threaded: whether to write in a thread, for a slow disk would hold up everything else; off on virtual time.
    """

    def __init__(self, directory: pathlib.Path, *, is_synced: bool = True, is_threaded: bool = True) -> None:
        self._directory = directory
        self._is_synced = is_synced
        self._is_threaded = is_threaded
        self._thread: futures.ThreadPoolExecutor | None = None
        self._lock_file: int | None = None

    async def lock(self, holder: str) -> tuple[str, ...]:
        if self._is_threaded and self._thread is None:
            # One thread: writes of one note keep their order.
            self._thread = futures.ThreadPoolExecutor(1, "wherry-journal")
        try:
            return await self._run(lambda: self._lock(holder))
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise errors.JournalUnwritable(path=str(self._directory), detail=error.strerror) from error
            raise errors.ConfigInvalid(
                where="[agent] journal_path",
                problem=f"{self._directory} cannot be used: {error.strerror or error}.",
                instead="Name a directory in which the agent's user may write.",
            ) from error

    async def unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def read_all(self) -> dict[str, bytes]:
        return await self._run(lambda: {path.stem: path.read_bytes() for path in sorted(self._directory.glob(f"*{_SUFFIX}"))})

    async def write(self, name: str, data: bytes, *, is_synced: bool) -> None:
        try:
            await self._run(lambda: self._write(name, data, is_synced=is_synced and self._is_synced))
        except OSError as error:
            raise errors.JournalUnwritable(path=str(self._directory), detail=error.strerror or str(error)) from error

    async def remove(self, name: str) -> None:
        await self._run(lambda: self._path(name).unlink(missing_ok=True))

    async def set_aside(self, name: str) -> None:
        path = self._path(name)
        await self._run(lambda: path.replace(path.with_suffix(".unreadable")))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _lock(self, holder: str) -> tuple[str, ...]:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._directory / _LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        earlier = path.read_text(errors="replace").split()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise errors.JournalLocked(path=str(self._directory), holder=earlier[-1] if earlier else "unnamed") from None
        holders = "\n".join([*earlier[-MOST_HOLDERS:], holder])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holders.encode(), 0)
        self._lock_file = descriptor
        return tuple(earlier)

    def _write(self, name: str, data: bytes, *, is_synced: bool) -> None:
        path = self._path(name)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Unbuffered: at its end a buffered file would try once more to write what did not fit.
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
                if is_synced:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if is_synced:
            # The new name is durable only once its directory is.
            directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _path(self, name: str) -> pathlib.Path:
        return self._directory / f"{name}{_SUFFIX}"
