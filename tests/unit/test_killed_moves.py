# SPDX-License-Identifier: Apache-2.0
"""The page of what comes of kills has every strike that the lab's test makes, and that one every step there is."""

from __future__ import annotations

import pytest

from tests.lab import struck_moves
from wherry.conductor import steps
from wherry.model import operation

Kind = operation.OperationKind
Step = operation.StepName
#: Where nothing is commanded, or what no strike alone leads to.
_NOT_STRUCK = frozenset({Step.BEGIN, Step.SELECT_DESTINATION, Step.ROLL_BACK})


def test_the_page_has_the_strikes_of_the_test() -> None:
    lines = struck_moves.PAGE.read_text().splitlines()
    assert [line for line in lines if line.startswith("| `")] == struck_moves.rows()


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("migrate", Kind.COLD_MIGRATION),
        ("resize", Kind.COLD_MIGRATION),
        ("revertResize", Kind.REVERT_RESIZE),
        ("confirmResize", Kind.CONFIRM_RESIZE),
    ],
)
def test_every_step_is_struck(asked: str, kind: operation.OperationKind) -> None:
    assert {step for step, _ in struck_moves.STEPS[asked]} == steps.STEPS[kind].keys() - _NOT_STRUCK
