# SPDX-License-Identifier: Apache-2.0
"""The rules of what a request needs: each flag taken away at each end, and what to send instead."""

from __future__ import annotations

import dataclasses

import pytest

from wherry.model import abilities, deadline
from wherry.model.capabilities import DriverCapabilities
from wherry.model.migration import LiveMigrationRequest

_ABORT, _FORCE = deadline.TimeoutAction.ABORT, deadline.TimeoutAction.FORCE_COMPLETE
_ALL = DriverCapabilities(**{field.name: True for field in dataclasses.fields(DriverCapabilities)})


def _without(*flags: str) -> DriverCapabilities:
    return dataclasses.replace(_ALL, **dict.fromkeys(flags, False))


def _ask(request: LiveMigrationRequest, **fields: object) -> abilities.Ask:
    defaults: dict[str, object] = {"configured_action": _ABORT, "configured_timeout_seconds_per_gib": 800, "permits_post_copy": True}
    return abilities.Ask(request=request, **(defaults | fields))  # type: ignore[arg-type]  # fields by name


def _found(
    request: LiveMigrationRequest, source: DriverCapabilities, destination: DriverCapabilities = _ALL, **fields: object
) -> list[tuple[str, str, bool]]:
    found = abilities.shortfalls(_ask(request, **fields), abilities.Ends(source=source, destination=destination))
    return [(one.side.value, one.instead, one.is_requested) for one in found]


@pytest.mark.parametrize("timeout", [None, 0, 30])
@pytest.mark.parametrize("action", [None, _ABORT, _FORCE])
def test_drivers_that_can_do_all_lack_nothing(timeout: int | None, action: deadline.TimeoutAction | None) -> None:
    assert not _found(LiveMigrationRequest(timeout_seconds=timeout, on_timeout=action), _ALL)


def test_abort_is_the_sources_alone() -> None:
    """And the other action is offered where that one would be kept."""
    request = LiveMigrationRequest(on_timeout=_ABORT)
    assert _found(request, _without("abort")) == [("source", 'Send on_timeout "force_complete".', True)]
    assert not _found(request, _ALL, _without("abort"))
    neither = _without("abort", "force_complete_by_pause", "force_complete_by_post_copy")
    assert _found(request, neither) == [("source", "Send neither timeout_seconds nor on_timeout.", True)]


def test_pausing_is_enough_to_force_and_post_copy_takes_both_ends() -> None:
    request = LiveMigrationRequest(on_timeout=_FORCE)
    no_pause = _without("force_complete_by_pause")
    assert not _found(request, _without("force_complete_by_post_copy"), _without("force_complete_by_post_copy"))
    assert not _found(request, no_pause)
    assert _found(request, no_pause, _without("force_complete_by_post_copy")) == [
        ("destination", 'Send on_timeout "abort", or name another host.', True)
    ]
    assert _found(request, no_pause, permits_post_copy=False) == [("source", 'Send on_timeout "abort".', True)]
    assert _found(request, no_pause, is_paused=True)
    assert _found(request, no_pause, has_passthrough_devices=True)
    assert _found(request, no_pause, guest_obstacle="its memory is in a file of the host")
    assert _found(dataclasses.replace(request, block_migration=True), no_pause)


def test_no_deadline_needs_no_action() -> None:
    """A timeout of 0 is kept by whoever knows the key."""
    nothing = _without("abort", "force_complete_by_pause", "force_complete_by_post_copy")
    assert not _found(LiveMigrationRequest(timeout_seconds=0, on_timeout=_ABORT), nothing)
    assert not _found(LiveMigrationRequest(), nothing, configured_timeout_seconds_per_gib=0)


def test_what_is_only_configured_is_noted_and_not_refused() -> None:
    ask, ends = _ask(LiveMigrationRequest()), abilities.Ends(source=_without("abort"), destination=_ALL)
    found = abilities.shortfalls(ask, ends)
    assert [one.is_requested for one in found] == [False]
    assert abilities.error_of(found, side=abilities.Side.SOURCE, driver="d", host="h") is None
    assert "which the configuration wants" in abilities.notes(ask, ends, "d")[0]


@pytest.mark.parametrize("is_source", [True, False])
def test_an_agent_that_does_not_know_the_keys_is_refused_at_either_end(is_source: bool) -> None:
    old = _without("per_migration_deadline")
    request = LiveMigrationRequest(timeout_seconds=30)
    ends = (old, _ALL) if is_source else (_ALL, old)
    sides = [side for side, _, _ in _found(request, *ends)]
    assert sides == ["source" if is_source else "destination"]
    assert not _found(LiveMigrationRequest(), *ends)


@pytest.mark.parametrize(
    ("flag", "request_", "is_paused"),
    [
        ("live_migration", LiveMigrationRequest(), False),
        ("storage_copy", LiveMigrationRequest(block_migration=True), False),
        ("paused_guests", LiveMigrationRequest(), True),
    ],
)
def test_what_the_guest_needs_is_needed_at_both_ends(flag: str, request_: LiveMigrationRequest, is_paused: bool) -> None:
    assert [side for side, _, _ in _found(request_, _without(flag), _without(flag), is_paused=is_paused)] == ["source", "destination"]


def test_the_actions_that_would_be_honoured() -> None:
    ask = _ask(LiveMigrationRequest(timeout_seconds=5))
    assert abilities.honoured(ask, abilities.Ends(source=_ALL, destination=_ALL)) == (_ABORT, _FORCE)
    assert abilities.honoured(ask, abilities.Ends(source=_without("abort"), destination=_ALL)) == (_FORCE,)
    assert abilities.honoured(ask, abilities.Ends(source=_ALL, destination=_without("per_migration_deadline"))) == ()
