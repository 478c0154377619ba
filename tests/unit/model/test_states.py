# SPDX-License-Identifier: Apache-2.0
"""The transition table is total, terminating, and the only way to a new status."""

from __future__ import annotations

import itertools

import pytest

from wherry import errors
from wherry.model import states


def test_every_status_has_a_row_and_every_event_is_used() -> None:
    """A new status or event cannot be forgotten in the table."""
    assert set(states.TRANSITIONS) == set(states.Status)
    assert {event for row in states.TRANSITIONS.values() for event in row} == set(states.Event)
    assert len(states.Status) == 17


def test_every_status_is_reachable_from_a_beginning() -> None:
    """Nothing in the table is dead, and a live migration has no status of a cold one but those that end either."""
    ways = [_reached_from(beginning) for beginning in states.BEGINNINGS]
    assert ways[0] | ways[1] == set(states.Status)
    assert ways[0] & ways[1] == {states.Status.FAILED, states.Status.CANCELLED, states.Status.ERROR}


def _reached_from(beginning: states.Status) -> set[states.Status]:
    reached, frontier = {beginning}, [beginning]
    while frontier:
        following = set(states.TRANSITIONS[frontier.pop()].values()) - reached
        reached |= following
        frontier += following
    return reached


def test_every_status_in_progress_can_fail_and_few_cannot_be_aborted() -> None:
    """No status is a trap. After the switch to post-copy an abort would lose the guest; what waits, or is being settled, is not aborted."""
    ways_out = {states.Event.CHECK_FAILED, states.Event.ROLLED_BACK, states.Event.GIVEN_UP}
    for status in states.IN_PROGRESS - states.RESTING:
        assert ways_out & set(states.TRANSITIONS[status]), status
    without_abort = {status for status in states.IN_PROGRESS if states.Event.ABORTED not in states.TRANSITIONS[status]}
    assert without_abort == {states.Status.POST_COPY, *states.CLAIMING_SOURCE}


def test_an_event_that_the_table_does_not_know_is_refused() -> None:
    """Every pair outside the table raises and names both."""
    for status, event in itertools.product(states.Status, states.Event):
        if event in states.TRANSITIONS[status]:
            assert states.advance(status, event) is states.TRANSITIONS[status][event]
        else:
            with pytest.raises(errors.IllegalTransition, match=f"(?s){status.value.split(' ')[0]}.*{event.value}"):
                states.advance(status, event)


def test_the_derived_sets_follow_from_the_table() -> None:
    """Terminal is what has an empty row; slots are held from admission to the end."""
    ends = {states.Status.COMPLETED, states.Status.FAILED, states.Status.CANCELLED, states.Status.ERROR}
    assert ends | {states.Status.CONFIRMED, states.Status.REVERTED} == states.TERMINAL
    assert not states.HOLDING_SLOTS & states.TERMINAL
    cold = states.CLAIMING_DESTINATION | states.CLAIMING_SOURCE
    assert states.IN_PROGRESS - cold - {states.Status.ACCEPTED} == states.SHOWN_IN_PROGRESS
    assert not states.CLAIMING_DESTINATION & states.CLAIMING_SOURCE and not cold & states.TERMINAL


def test_the_diagram_shows_every_move() -> None:
    """The picture in the docs is drawn from the table."""
    drawn = states.diagram()
    moves = sum(len(row) for row in states.TRANSITIONS.values())
    assert drawn.count("-->") == moves + len(states.BEGINNINGS) + len(states.TERMINAL)
    assert 'state "running (post-copy)" as post_copy' in drawn
