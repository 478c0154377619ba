# SPDX-License-Identifier: Apache-2.0
"""How an answer is written: JSON or nothing. Knows no resource."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette import responses

_JSON = "application/json"
# Separators without blanks: a list of a thousand servers is a tenth shorter. All ASCII, since what a client sent, and is told of again,
# need not be encodable otherwise.
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def json_answer(content: object, status: int, headers: Mapping[str, str] | None = None) -> responses.Response:
    """Give an answer with a JSON body."""
    return responses.Response(_encode(content).encode("ascii"), status_code=status, headers=headers, media_type=_JSON)


def empty_answer(status: int, location: str = "") -> responses.Response:
    """Give an answer without a body.

    :param location: where what was made is; empty where nothing was.
    """
    answer = responses.Response(status_code=status, headers={"Location": location} if location else None)
    if status != 204:
        # Nova says application/json on its empty 202s, and clients look at it before they look at the length.
        answer.headers["content-type"] = _JSON
    return answer
