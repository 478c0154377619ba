# SPDX-License-Identifier: Apache-2.0
"""One decorator for every stage that is an event of an instance action, at the conductor and at the agents.

Decides nothing about the stage: it names it, tells a sink that it started, and tells it how it ended.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from wherry import errors
from wherry.model import instance_actions
from wherry.rpc import messages

Self = TypeVar("Self", bound="Staged")
Message = TypeVar("Message", bound=messages.AboutOperation)
Reply = TypeVar("Reply")


class EventSink(Protocol):
    """Who is told. The conductor's writes the event row; the agent's notes it, and the answer carries the outcome."""

    async def started(self, name: instance_actions.EventName, message: messages.AboutOperation) -> None:
        """Note that the stage began. Called again for a stage that began before: that changes nothing."""

    async def finished(
        self, name: instance_actions.EventName, message: messages.AboutOperation, outcome: instance_actions.EventOutcome
    ) -> None:
        """Note how the stage ended."""


class Staged(Protocol):
    """Who has stages."""

    @property
    def events(self) -> EventSink:
        """Who is told of them."""


#: A stage: an async method of one message.
Stage = Callable[[Self, Message], Coroutine[Any, Any, Reply]]


def wrap_instance_event(prefix: str) -> Callable[[Stage[Self, Message, Reply]], Stage[Self, Message, Reply]]:
    """Make an async method `(self, message) -> reply` an event named `{prefix}_{method}`.

    A name that is none of EventName is an error when the module is imported. A stage that is cancelled, or that another
    conductor has taken over, stays open: whoever goes on with it closes it.
    """

    def decorate(method: Stage[Self, Message, Reply]) -> Stage[Self, Message, Reply]:
        name = instance_actions.EventName(f"{prefix}_{method.__name__}")

        @functools.wraps(method)
        async def wrapped(self: Self, message: Message) -> Reply:
            await self.events.started(name, message)
            try:
                reply = await method(self, message)
            except errors.LeaseLost:
                # As when it is cancelled: another process goes on with the stage.
                raise
            except Exception as error:
                await self.events.finished(name, message, outcome_of(error))
                raise
            outcome = reply.outcome if isinstance(reply, messages.StageAnswer) else instance_actions.SUCCEEDED
            await self.events.finished(name, message, outcome)
            return reply

        return wrapped

    return decorate


def outcome_of(error: Exception) -> instance_actions.EventOutcome:
    """Give how a stage ended that raised this: what it says and what to do about it; a traceback only where nobody expected it."""
    details = f"{error.message} {error.remedy}".rstrip() if isinstance(error, errors.Error) else f"{type(error).__name__}: {error}"
    return instance_actions.EventOutcome(result=instance_actions.Result.ERROR, details=details, traceback=_traceback_of(error) or None)


def _traceback_of(error: Exception) -> str:
    if isinstance(error, errors.Error):
        if error.remote_traceback:
            return error.remote_traceback
        if not isinstance(error, errors.CheckCrashed | errors.RemoteFailure):
            return ""
    return "".join(traceback.format_exception(error))
