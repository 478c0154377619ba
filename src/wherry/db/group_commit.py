# SPDX-License-Identifier: Apache-2.0
"""Group commit: writers that come in the same turn of the loop are stored in one transaction, so that the disk is waited for once.

Each has a savepoint of its own: what one of them raises takes back its own work only. None is answered before the common commit.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from wherry.db import engine as engines

T = TypeVar("T")


@dataclasses.dataclass(kw_only=True, slots=True)
class _Writer:
    """One unit of work, and who waits for it."""

    work: Callable[[], Any]
    done: asyncio.Future[Any]
    #: Its task's, so that what it logs carries the request's id.
    context: contextvars.Context
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Tell who waits; it may have gone away."""
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


class GroupCommit:
    """The writers of one connection.

    :param begin: opens a transaction that may write, on the connection that it gives.
    :param most: writers in one transaction; what has come beyond waits for the next turn of the loop, which serves others in between.
    """

    def __init__(self, begin: Callable[[], sqlite3.Connection], most: int) -> None:
        self._begin = begin
        self._most = most
        self._waiting: list[_Writer] = []

    async def run(self, work: Callable[[], T]) -> T:
        """Run something that waits for nothing, in a transaction with others; gives its result once that is committed.

        Who is cancelled before the turn has come is not run; who is cancelled later may have been.
        :raises Troubled: another one's error took the whole transaction back; nothing was stored.
        """
        loop = asyncio.get_running_loop()
        writer = _Writer(work=work, done=loop.create_future(), context=contextvars.copy_context())
        self._waiting.append(writer)
        if len(self._waiting) == 1:
            loop.call_soon(self._take_turn, loop)
        result: T = await writer.done
        return result

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        writers, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        if self._waiting:
            loop.call_soon(self._take_turn, loop)
        wanted = [writer for writer in writers if not writer.done.done()]
        try:
            if wanted:
                self._store(wanted)
        finally:
            for writer in wanted:
                writer.settle()

    def _store(self, writers: Sequence[_Writer]) -> None:
        raw: sqlite3.Connection | None = None
        try:
            raw = self._begin()
            for writer in writers:
                _run(raw, writer)
            raw.execute("COMMIT")
        except BaseException as error:
            if raw is not None and raw.in_transaction:
                raw.execute("ROLLBACK")
            for writer in writers:
                writer.error = writer.error or error
            if not isinstance(error, Exception):
                raise


def _run(raw: sqlite3.Connection, writer: _Writer) -> None:
    raw.execute("SAVEPOINT writer")
    try:
        writer.result = writer.context.run(writer.work)
    except Exception as error:
        writer.error = error
        if not raw.in_transaction:
            # A full disk, for one, makes SQLite take the whole transaction back, the work of those before included.
            raise engines.Troubled(engines.Trouble.CONFLICT, error) from error
        raw.execute("ROLLBACK TO writer")
    raw.execute("RELEASE writer")
