# SPDX-License-Identifier: Apache-2.0
"""Shapes of what is kept as JSON in the database, written down for each release as those of messages are, and compared with the same rules.

Two releases read each other's rows while both are at work. What a column or a kind is for is not looked at.
"""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Iterator
from typing import Any

from wherry.db import schema, types
from wherry.testing import message_schemas

#: Where the shapes of each release lie, in the source tree.
KEPT = pathlib.Path("tests/contract/records")


def current() -> dict[str, Any]:
    """Give the schema of every such column of this release, by name. One that holds several shapes has a name for each."""
    return {name: types.adapter(shape).json_schema(mode="serialization") for name, shape in _shapes()}


def keep() -> pathlib.Path:
    """Write this release's schemas down; gives the file."""
    return message_schemas.keep(KEPT, current())


def kept() -> dict[str, dict[str, Any]]:
    """Give what was written down, by release."""
    return message_schemas.kept(KEPT)


def _shapes() -> Iterator[tuple[str, Any]]:
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            if not isinstance(column.type, types.Json):
                continue
            shape = column.type.shape
            # A kind that an earlier release does not know is not read by it; each that it knows must stay as it is.
            several = typing.get_args(shape) if column.type.newer is not None else ()
            if several:
                yield from ((f"{table.name}.{column.name}.{one.__name__}", one) for one in several)
            else:
                yield f"{table.name}.{column.name}", shape
