# SPDX-License-Identifier: Apache-2.0
"""What all messages have in common."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import pydantic


class Message(pydantic.BaseModel):
    """Root of all messages. The class name is its name on the wire."""

    # Built at first use: most processes use a few of them, and building all costs a tenth of a second at each start.
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore", defer_build=True)


R = TypeVar("R", bound=Message)


class Request(Message, Generic[R]):
    """A message that is answered. `reply_type` is what the answer must be."""

    reply_type: ClassVar[type[Message]]


class Done(Message):
    """The answer that says only that it was done."""


class AboutOperation(Message):
    """Field of every message about one operation."""

    operation_id: str
