# SPDX-License-Identifier: Apache-2.0
"""Lets the first signal end a program in order, and keeps later ones from ending its clean-up."""

from __future__ import annotations

import signal
import types
import typing

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end. Not an Exception, so that nothing takes it for a failure and goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name

    @property
    def exit_status(self) -> int:
        """What a shell shows of a program that a signal ended."""
        return 128 + self.number


def raise_on_signals() -> None:
    """Have the first signal raise Interrupted."""

    def interrupt(number: int, _frame: types.FrameType | None) -> typing.NoReturn:
        ignore_signals()
        raise Interrupted(number)

    for each in _SIGNALS:
        signal.signal(each, interrupt)


def ignore_signals() -> None:
    """Ignore them from here on; programs that are started now do so too, as the lab's own for its clean-up must."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
