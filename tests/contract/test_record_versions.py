# SPDX-License-Identifier: Apache-2.0
"""What is kept as JSON in the database, of this release and of every earlier one: each reads what the other wrote.

Written down by `scripts/keep-messages` when a release is made, and lies in records/. An operation that does something new is of a new kind,
which an earlier release leaves alone; a choice that is added within a kind would break it.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from wherry import __version__
from wherry.testing import message_schemas, record_schemas

_KEPT = record_schemas.kept()
_NOW = record_schemas.current()


def test_the_shapes_of_a_release_are_written_down() -> None:
    assert _KEPT, "run scripts/keep-messages"
    assert __version__ in _KEPT or "dev" in __version__


@pytest.mark.parametrize("release", _KEPT)
def test_nothing_keeps_this_release_and_an_earlier_one_from_reading_each_others_rows(release: str) -> None:
    """No field gone, none new and required, no type or choice changed. A change within a release that is not out yet: keep it anew."""
    assert list(message_schemas.quarrels(_KEPT[release], _NOW)) == []


def _changed(name: str) -> tuple[dict[str, Any], Any]:
    changed = copy.deepcopy(_NOW)
    return changed, changed[name]


def test_a_choice_that_is_added_is_found() -> None:
    changed, power = _changed("operations.request.PowerRequest")
    power["$defs"]["PowerAction"]["enum"].append("hibernate")
    assert any("hibernate" in one for one in message_schemas.quarrels(_NOW, changed))


def test_a_kind_of_request_that_is_added_is_no_quarrel_and_one_that_is_gone_is() -> None:
    changed, power = _changed("operations.request.PowerRequest")
    changed["operations.request.EvacuationRequest"] = power
    assert list(message_schemas.quarrels(_NOW, changed)) == []
    del changed["operations.request.PowerRequest"]
    assert any(one.startswith("operations.request.PowerRequest: it is gone") for one in message_schemas.quarrels(_NOW, changed))
