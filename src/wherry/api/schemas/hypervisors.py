# SPDX-License-Identifier: Apache-2.0
"""Queries of hypervisors."""

from __future__ import annotations

from wherry.api import validation
from wherry.api.schemas import parameter_types as types

_V33 = {"limit": types.several(types.COUNT), "marker": types.several(types.TEXT)}
_V53 = {
    "limit": types.single(types.COUNT),
    "marker": types.single(types.TEXT),
    "hypervisor_hostname_pattern": types.single(types.HOST),
    "with_servers": types.single(types.BOOLEAN),
}

LIST = validation.Schema(
    ("2.1", types.query({}, is_strict=False)),
    ("2.33", types.query(_V33, is_strict=False)),
    ("2.53", types.query(_V53, is_strict=False)),
    ("2.75", types.query(_V53, is_strict=True)),
)
SHOW = validation.Schema(
    ("2.1", types.query({}, is_strict=False)),
    ("2.53", types.query({"with_servers": types.single(types.BOOLEAN)}, is_strict=False)),
    ("2.75", types.query({"with_servers": types.single(types.BOOLEAN)}, is_strict=True)),
)
#: Of search, servers, uptime and statistics.
OLD = validation.Schema(("2.1", types.query({}, is_strict=False)), ("2.75", types.query({}, is_strict=True)))
