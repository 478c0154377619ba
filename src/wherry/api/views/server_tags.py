# SPDX-License-Identifier: Apache-2.0
"""A server's tags. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from wherry.api import call as api_call


def show(tags: Sequence[str], _call: api_call.Call) -> dict[str, list[str]]:
    """Give all of them."""
    return {"tags": list(tags)}
