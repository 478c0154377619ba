# SPDX-License-Identifier: Apache-2.0
"""Gathers what many ask for at about the same time, and has it done for all of them at once: a database takes few commits a second.

Knows nothing of what is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Gatherer(Generic[Q, A]):
    """Answers questions batch by batch; what comes while one batch is worked on is in the next.

    :param work: answers a batch in its order; an error among the answers is raised where that question was asked, one that it raises
        itself wherever one of the batch was.
    :param pause: is awaited before each batch, while it fills. None: no longer than the batch before takes.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]],
        pause: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._name = name
        self._work = work
        self._pause = pause
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Give the answer to a question. Who is cancelled meanwhile takes nothing back: it is worked on all the same."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work_off(), name=self._name)
        return await asyncio.shield(answer)

    async def stop(self) -> None:
        """Work on nothing any more; who still waits is cancelled."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)
        for _, answer in self._waiting:
            answer.cancel()

    async def _work_off(self) -> None:
        while self._waiting:
            if self._pause is not None:
                await self._pause()
            batch, self._waiting = self._waiting, []
            try:
                answers = await self._work([question for question, _ in batch])
            except Exception as error:
                answers = [error] * len(batch)
            except asyncio.CancelledError:
                for _, asked in batch:
                    asked.cancel()
                raise
            for (_, asked), answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    asked.set_exception(answer)
                else:
                    asked.set_result(answer)
