# SPDX-License-Identifier: Apache-2.0
"""The truth table, cell by cell: what both hypervisors show gives the verdict."""

from __future__ import annotations

import itertools

import pytest

from wherry.model import guest, truth

_S = guest.GuestState
_V = truth.Verdict

_COLUMNS = (
    _S.RUNNING,
    _S.PAUSED,
    _S.PAUSED_FOR_SWITCH_OVER,
    _S.POST_COPY,
    _S.POST_COPY_FAILED,
    _S.SHUT_OFF,
    _S.ABSENT,
    _S.UNREACHABLE,
)
_LETTERS = {
    "C": _V.COMPLETED,
    "F": _V.FAILED,
    "B": _V.BROKEN_POST_COPY,
    "X": _V.CONFLICT,
    "W": _V.WAIT,
    "G": _V.GUEST_GONE,
}
#: No job under way and nothing of our doing: a row is the source's state, a column the destination's, in the order of _COLUMNS.
_TABLE = {
    _S.RUNNING: "XXWWBFFW",
    _S.PAUSED: "CCWWBFFW",
    _S.PAUSED_FOR_SWITCH_OVER: "CCWWBFFW",
    _S.POST_COPY: "WWWWBWWW",
    _S.POST_COPY_FAILED: "BBBBBXXW",
    _S.SHUT_OFF: "CCWWXGGW",
    _S.ABSENT: "CCWWXGGW",
    _S.UNREACHABLE: "WWWWWWWW",
}


def _judge(source: guest.GuestState, destination: guest.GuestState, intent: truth.LastIntent, *, has_job: bool = False) -> truth.Verdict:
    return truth.verdict(truth.Sides(source=source, destination=destination, has_job=has_job), intent)


def test_the_table_names_every_state() -> None:
    """A new state of a guest cannot be forgotten here."""
    assert set(_COLUMNS) == set(_S) == set(_TABLE)


@pytest.mark.parametrize(("source", "row"), list(_TABLE.items()), ids=str)
def test_each_cell_without_an_intent(source: guest.GuestState, row: str) -> None:
    """Each pair of sides has the verdict that the table says."""
    for destination, letter in zip(_COLUMNS, row, strict=True):
        assert _judge(source, destination, truth.LastIntent.NONE) is _LETTERS[letter], destination


def test_an_abort_of_ours_turns_failed_into_cancelled_and_nothing_else() -> None:
    """Whatever error the hypervisor's call raised, an abort that we asked for is cancelled; it never overrules where the guest is."""
    for source, destination in itertools.product(_S, _S):
        without = _judge(source, destination, truth.LastIntent.NONE)
        expected = _V.CANCELLED if without is _V.FAILED else without
        assert _judge(source, destination, truth.LastIntent.ABORT) is expected


@pytest.mark.parametrize("intent", [truth.LastIntent.PAUSE, truth.LastIntent.POST_COPY])
def test_a_force_complete_changes_no_verdict(intent: truth.LastIntent) -> None:
    """Wanting it to complete does not make it complete."""
    for source, destination in itertools.product(_S, _S):
        assert _judge(source, destination, intent) is _judge(source, destination, truth.LastIntent.NONE)


def test_unreachable_is_never_absent() -> None:
    """Whoever does not answer may have the guest: nothing is concluded."""
    for other, intent in itertools.product(_S, truth.LastIntent):
        assert _judge(_S.UNREACHABLE, other, intent) is _V.WAIT
        assert _judge(other, _S.UNREACHABLE, intent) is _V.WAIT


def test_a_job_under_way_is_waited_for() -> None:
    """Before the job is over there is no outcome, but for a broken post-copy, whose job may hang for ever."""
    for source, destination in itertools.product(_S, _S):
        verdict = _judge(source, destination, truth.LastIntent.NONE, has_job=True)
        assert verdict in (_V.WAIT, _V.BROKEN_POST_COPY, _V.CONFLICT)
        if _S.POST_COPY_FAILED not in (source, destination):
            assert verdict is _V.WAIT


def test_the_source_is_never_resumed_while_the_destination_may_hold_the_guest() -> None:
    """An undo, which resumes the source, begins only when the destination was read as holding nothing."""
    for source, destination, intent in itertools.product(_S, _S, truth.LastIntent):
        if _judge(source, destination, intent) in (_V.FAILED, _V.CANCELLED):
            assert destination in (_S.ABSENT, _S.SHUT_OFF)
            assert source not in (_S.ABSENT, _S.SHUT_OFF, _S.UNREACHABLE)
