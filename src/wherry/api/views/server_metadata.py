# SPDX-License-Identifier: Apache-2.0
"""A server's metadata. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wherry.api import call as api_call


def show(items: Mapping[str, str], _call: api_call.Call) -> dict[str, dict[str, str]]:
    """Give all of it."""
    return {"metadata": dict(items)}


def show_one(item: Mapping[str, str], _call: api_call.Call) -> dict[str, dict[str, str]]:
    """Give one item."""
    return {"meta": dict(item)}
