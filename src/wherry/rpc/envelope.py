# SPDX-License-Identifier: Apache-2.0
"""Messages, answers and errors as bytes, and back.

Says nothing about where they go. Who sent a message stands in its subject, never in here.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import pydantic

from wherry import errors
from wherry.model import instance_actions
from wherry.rpc import instance_events, messages

M = TypeVar("M", bound=messages.Message)

#: What every counter of a hypervisor is below. Much larger ones could not even be made into the floats that are counted with.
_TOO_LARGE = 2**64


class Envelope(pydantic.BaseModel):
    """What travels to a process."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    message: str
    #: Request id of the API request that it serves, for the logs; empty for none.
    request_id: str = ""
    payload: dict[str, Any] = {}


class _Failure(pydantic.BaseModel):
    slug: str
    fields: dict[str, Any] = {}
    traceback: str = ""


class _Answer(pydantic.BaseModel):
    payload: dict[str, Any] | None = None
    error: _Failure | None = None


def pack(message: messages.Message, request_id: str) -> bytes:
    """Make the bytes of a message."""
    name, request = json.dumps(type(message).__name__), json.dumps(request_id)
    # The payload is spliced in as text: turning it into objects only to dump them again would double the cost of every message.
    return f'{{"message":{name},"request_id":{request},"payload":{message.model_dump_json()}}}'.encode()


def unpack(data: bytes) -> Envelope:
    """Read the bytes of a message, its payload not yet understood.

    :raises MessageInvalid: when they are not one.
    """
    try:
        sealed = Envelope.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise errors.MessageInvalid(message_type="(unreadable)", problem=_problem(error)) from error
    _check_numbers(sealed.message, sealed.payload)
    return sealed


def read(message_type: type[M], payload: dict[str, Any]) -> M:
    """Understand a payload.

    :raises MessageInvalid: when it does not fit the type.
    """
    try:
        return message_type.model_validate(payload)
    except pydantic.ValidationError as error:
        raise errors.MessageInvalid(message_type=message_type.__name__, problem=_problem(error)) from error


def pack_reply(reply: messages.Message) -> bytes:
    """Make the bytes of an answer."""
    return f'{{"payload":{reply.model_dump_json()}}}'.encode()


def pack_error(error: Exception) -> bytes:
    """Make the bytes of an error: slug and fields, and a traceback where nobody expected it."""
    outcome: instance_actions.EventOutcome = instance_events.outcome_of(error)
    known = error if isinstance(error, errors.Error) else errors.RemoteFailure(detail=f"{type(error).__name__}: {error}")
    failure = _Failure(slug=known.slug, fields=dict(known.fields), traceback=outcome.traceback or "")
    return _Answer(error=failure).model_dump_json(exclude_none=True).encode()


def unpack_answer(request: messages.Request[M], data: bytes) -> M:
    """Read an answer.

    :raises Error: the other process's error, rebuilt.
    :raises MessageInvalid: when it is no answer to this request.
    """
    try:
        answer = _Answer.model_validate_json(data)
    except pydantic.ValidationError as error:
        raise errors.MessageInvalid(message_type=f"answer to {type(request).__name__}", problem=_problem(error)) from error
    if answer.error is not None:
        raise _rebuilt(answer.error)
    _check_numbers(f"answer to {type(request).__name__}", answer.payload)
    reply = read(request.reply_type, answer.payload or {})
    return reply  # type: ignore[return-value]  # Request[M] and its reply_type name the same class; a class attribute cannot be typed by M


def _rebuilt(failure: _Failure) -> errors.Error:
    error = errors.from_wire({"slug": failure.slug, "fields": failure.fields})
    error.remote_traceback = failure.traceback
    return error


def _check_numbers(name: str, payload: object) -> None:
    """Make sure that all numbers are ones to count with, whoever sent them: what one host says is read by all.

    :raises MessageInvalid: one is not.
    """
    waiting = [payload]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
        # Not a number at all is in no range.
        elif isinstance(one, int | float) and not -_TOO_LARGE < one < _TOO_LARGE:
            raise errors.MessageInvalid(message_type=name, problem="a number in it is beyond 64 bits")


def _problem(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the message"
    return f"{place}: {first['msg']}"
