# SPDX-License-Identifier: Apache-2.0
"""What happened in one run, line by line on virtual time: the log that a replay must repeat byte for byte.

Decides nothing. Lines of the product's own log are taken in, too, where the whole log is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Iterator

from wherry.telemetry import logs
from wherry.testing.simulation import process

#: Loggers whose lines belong to the run; asyncio's tell of tasks and callbacks that failed unseen.
_LOGGERS = ("wherry", "asyncio")


class Trace:
    """The lines of one run.

    :param is_whole: whether the product's own lines are kept as well; without them a run costs half.
    """

    def __init__(self, *, is_whole: bool = False) -> None:
        self.is_whole = is_whole
        self.lines: list[str] = []
        #: What the product logged as an error: nothing in a simulation should surprise it.
        self.errors: list[str] = []
        self._is_closed = False

    def note(self, what: str) -> None:
        """Add a line of the simulation's own."""
        if not self._is_closed:
            self.lines.append(f"{_now():12.6f} {what}")

    def close(self) -> None:
        """Take no further line: what is torn down after the end is no part of the run."""
        self._is_closed = True

    def digest(self) -> str:
        """Give a short sum of all lines, by which two runs can be compared."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]

    def text(self) -> str:
        """Give the whole log."""
        return "\n".join(self.lines) + "\n"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take in what the product logs meanwhile."""
        handler = _Handler(self)
        handler.setFormatter(logs.formatter("text", now=None))
        before = []
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            before.append((logger, logger.level, logger.propagate))
            logger.addHandler(handler)
            logger.propagate = False
            logger.setLevel(logging.DEBUG if self.is_whole and name == "wherry" else logging.ERROR)
        try:
            yield
        finally:
            for logger, level, propagate in before:
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = propagate

    def take(self, record: logging.LogRecord, text: str) -> None:
        """Take in one line of the product's; one of a process that is dead was never written."""
        current = process.current()
        if self._is_closed or (current is not None and not current.is_alive):
            return
        name = current.name if current is not None else "-"
        # The formatter's time is the machine's; virtual time stands in front.
        line = f"{name}: {text.partition(' ')[2]}"
        self.lines.append(f"{_now():12.6f} {line}")
        if record.levelno >= logging.ERROR and (record.exc_info or record.name == "asyncio"):
            self.errors.append(line)


class _Handler(logging.Handler):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        self._trace.take(record, self.format(record))


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0
