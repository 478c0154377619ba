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
    assert len(states.Status) == 9


def test_every_status_is_reachable_from_accepted() -> None:
    """Nothing in the table is dead."""
    reached, frontier = {states.Status.ACCEPTED}, [states.Status.ACCEPTED]
    while frontier:
        following = set(states.TRANSITIONS[frontier.pop()].values()) - reached
        reached |= following
        frontier += following
    assert reached == set(states.Status)


def test_every_status_in_progress_can_fail_and_only_post_copy_cannot_be_aborted() -> None:
    """No status is a trap; after the switch to post-copy an abort would lose the guest."""
    for status in states.IN_PROGRESS:
        assert {states.Event.CHECK_FAILED, states.Event.ROLLED_BACK} & set(states.TRANSITIONS[status]), status
    without_abort = {status for status in states.IN_PROGRESS if states.Event.ABORTED not in states.TRANSITIONS[status]}
    assert without_abort == {states.Status.POST_COPY}


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
    assert {states.Status.COMPLETED, states.Status.FAILED, states.Status.CANCELLED, states.Status.ERROR} == states.TERMINAL
    assert not states.HOLDING_SLOTS & states.TERMINAL
    assert states.IN_PROGRESS - {states.Status.ACCEPTED} == states.SHOWN_IN_PROGRESS


def test_the_diagram_shows_every_move() -> None:
    """The picture in the docs is drawn from the table."""
    drawn = states.diagram()
    moves = sum(len(row) for row in states.TRANSITIONS.values())
    assert drawn.count("-->") == moves + 1 + len(states.TERMINAL)
    assert 'state "running (post-copy)" as post_copy' in drawn
