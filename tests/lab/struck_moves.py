# SPDX-License-Identifier: Apache-2.0
"""Which strikes there are at cold migrations, resizes, confirmations and ways back, and what may come of each: the table in the docs."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

from tests.lab.strikes import Moment
from wherry.model import operation

Step = operation.StepName
#: Where the table stands.
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "killed-moves.md"
_WAY = (
    (Step.CHECK_DESTINATION, "destination"),
    (Step.CHECK_SOURCE, "source"),
    (Step.PREPARE, "destination"),
    (Step.SHUT_DOWN, "source"),
    (Step.MOVE, "source"),
    (Step.FINISH, "destination"),
)
#: Steps of each operation, with the side whose agent works on it.
STEPS = {
    "migrate": _WAY,
    "resize": _WAY,
    "revertResize": (
        (Step.CHECK_RETURN, "source"),
        (Step.SHUT_DOWN, "destination"),
        (Step.STOP_DESTINATION, "destination"),
        (Step.RESTORE, "source"),
        (Step.DISCARD, "destination"),
    ),
    "confirmResize": ((Step.CONFIRM, "source"),),
}
#: What follows a move.
AFTER = {"migrate": "revertResize", "resize": "confirmResize"}
#: Steps at which the other side's agent dies as well: its disks go from one to the other.
_OF_BOTH = frozenset({Step.MOVE})
_ENDS = {"migrate": "finished", "resize": "finished", "confirmResize": "confirmed", "revertResize": "reverted"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One strike."""

    asked: str
    step: Step
    #: "conductor", or whose agent: "source", "destination".
    victim: str
    moment: Moment

    @property
    def ends(self) -> tuple[str, ...]:
        """Statuses of the migration that may come of it: a host that is away while it is checked is refused, with nothing touched."""
        may_refuse = self.victim != "conductor" and self.step in operation.CHECKING and self.asked in AFTER
        return (_ENDS[self.asked], "error") if may_refuse else (_ENDS[self.asked],)

    def row(self, *ends: str) -> str:
        """Give its line of the table."""
        told = " or ".join(f"`{end}`" for end in ends or self.ends)
        return f"| `{self.asked}` | `{self.step.value}` | {self.victim} | {self.moment.value} | {told} |"


def cases(asked: str, victims: str) -> Iterator[Case]:
    """Give the strikes at each step of one operation, at "conductor" or at "agents".

    A resize takes the steps of a cold migration: each is struck at one moment more, not at both.
    """
    moments = tuple(Moment) if asked != "resize" else (Moment.DONE,) if victims == "conductor" else (Moment.BEGUN,)
    for step, side in STEPS[asked]:
        sides = ("conductor",) if victims == "conductor" else ("source", "destination") if step in _OF_BOTH else (side,)
        yield from (Case(asked, step, victim, moment) for moment in moments for victim in sides)
    if victims == "conductor":
        yield Case(asked, Step.DONE, "conductor", Moment.BEGUN)


def rows() -> list[str]:
    """Give the table's lines."""
    return [case.row() for asked in STEPS for victims in ("conductor", "agents") for case in cases(asked, victims)]
