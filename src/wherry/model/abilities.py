# SPDX-License-Identifier: Apache-2.0
"""What a request needs of the drivers at both ends, and what to send where one of them lacks it. Pure: rules on flags and records.

Reads no hypervisor: what only a look at the guest's disks or at the hosts can tell is the checks' business.
"""

from __future__ import annotations

import dataclasses
import enum

from wherry import errors
from wherry.model.capabilities import DriverCapabilities
from wherry.model.deadline import TimeoutAction
from wherry.model.guest import Guest, GuestState
from wherry.model.host import Host
from wherry.model.migration import LiveMigrationRequest

_WITHOUT_KEYS = "Send neither timeout_seconds nor on_timeout"


class Side(enum.StrEnum):
    """Whose driver it is that lacks something."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request, with what the configuration adds to it and what is known of its guest."""

    request: LiveMigrationRequest
    #: What is done at the deadline where the request does not say.
    configured_action: TimeoutAction
    #: Seconds for each GiB where the request names no timeout; 0 = no deadline.
    configured_timeout_seconds_per_gib: int
    #: Whether transfers are started so that they can switch to post-copy.
    permits_post_copy: bool
    is_paused: bool = False
    has_passthrough_devices: bool = False
    #: Why the guest's memory cannot follow by post-copy; empty where nothing speaks against it.
    guest_obstacle: str = ""

    @property
    def has_keys(self) -> bool:
        """Whether the request names a part of its deadline."""
        return self.request.timeout_seconds is not None or self.request.on_timeout is not None

    @property
    def action(self) -> TimeoutAction | None:
        """What is done at the deadline; None where there never is one."""
        timeout = self.request.timeout_seconds
        if timeout == 0 or (not self.has_keys and self.configured_timeout_seconds_per_gib == 0):
            return None
        return self.request.on_timeout or self.configured_action


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ends:
    """What the drivers at both ends can do. The destination is None until one is chosen, and is then taken to be able to do all."""

    source: DriverCapabilities
    destination: DriverCapabilities | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """An ability that one side lacks."""

    side: Side
    #: Completes "the driver cannot …".
    ability: str
    #: What to send or to do instead: a sentence.
    instead: str
    #: Whether the request asked for it; false: it comes from the configuration only, and the migration goes on without it.
    is_requested: bool = True


def ask_of(
    request: LiveMigrationRequest,
    guest: Guest | None,
    *,
    configured_action: TimeoutAction,
    configured_timeout_seconds_per_gib: int,
    permits_post_copy: bool,
) -> Ask:
    """Put together what is asked."""
    return Ask(
        request=request,
        configured_action=configured_action,
        configured_timeout_seconds_per_gib=configured_timeout_seconds_per_gib,
        permits_post_copy=permits_post_copy,
        is_paused=guest is not None and guest.state is GuestState.PAUSED,
        has_passthrough_devices=guest is not None and bool(guest.passthrough_devices),
        guest_obstacle=guest.post_copy_obstacle if guest is not None else "",
    )


def shortfalls(ask: Ask, ends: Ends) -> tuple[Shortfall, ...]:
    """Give everything that the request needs and one side lacks, the source's first."""
    found = [*_of_deadline(ask, ends), *_of_guest(ask, ends)]
    return tuple(sorted(found, key=lambda one: one.side is Side.DESTINATION))


def honoured(ask: Ask, ends: Ends) -> tuple[TimeoutAction, ...]:
    """Give the timeout actions that a request to these two hosts could name."""
    return tuple(
        action
        for action in TimeoutAction
        if not any(
            one.is_requested
            for one in _of_deadline(
                dataclasses.replace(ask, request=dataclasses.replace(ask.request, timeout_seconds=None, on_timeout=action)), ends
            )
        )
    )


def obstacle_to_post_copy(ask: Ask, ends: Ends) -> str:
    """Say why a transfer between these two could not switch to post-copy; empty = it could."""
    destination = ends.destination
    if not ask.permits_post_copy:
        return "live_migration_permit_post_copy is off"
    if not ends.source.force_complete_by_post_copy:
        return "the source's driver cannot do it"
    if destination is not None and not destination.force_complete_by_post_copy:
        return "the destination's driver cannot do it"
    if ask.is_paused:
        return "a paused guest gains nothing by it"
    if ask.has_passthrough_devices:
        return "a device of the host writes to the guest's memory by itself"
    if ask.guest_obstacle:
        return ask.guest_obstacle
    if ask.request.block_migration is True:
        return "disks are copied in the same job"
    return ""


def refusal_by_source(ask: Ask, source: Host) -> errors.CapabilityMissing | None:
    """Give why the source cannot do what is asked, whichever the destination; None where it can."""
    ends = Ends(source=source.description.capabilities)
    return error_of(shortfalls(ask, ends), side=Side.SOURCE, driver=source.description.driver, host=source.name)


def refusal_by_destination(ask: Ask, source: Host, destination: Host) -> errors.CapabilityMissing | None:
    """Give why this destination cannot do what is asked; None where it can."""
    ends = Ends(source=source.description.capabilities, destination=destination.description.capabilities)
    return error_of(shortfalls(ask, ends), side=Side.DESTINATION, driver=destination.description.driver, host=destination.name)


def error_of(found: tuple[Shortfall, ...], *, side: Side, driver: str, host: str) -> errors.CapabilityMissing | None:
    """Make the error of one side; None where it lacks nothing that was asked for."""
    lacking = [one for one in found if one.side is side and one.is_requested]
    if not lacking:
        return None
    return errors.CapabilityMissing(
        driver=driver,
        host=host,
        ability=", or ".join(one.ability for one in lacking),
        instead=" ".join(dict.fromkeys(one.instead for one in lacking)),
    )


def notes(ask: Ask, ends: Ends, driver: str) -> tuple[str, ...]:
    """Give what the event is to tell of a request that is not refused: what will not be done, although somebody wants it."""
    left_out = (
        f"The {driver} driver cannot {one.ability}, which the configuration wants: the migration goes on without it."
        for one in shortfalls(ask, ends)
        if not one.is_requested
    )
    return (*left_out, *_idle_action(ask))


def _idle_action(ask: Ask) -> tuple[str, ...]:
    timeout, action = ask.request.timeout_seconds, ask.request.on_timeout
    if action is None or (ask.configured_timeout_seconds_per_gib if timeout is None else timeout):
        return ()
    why = "live_migration_completion_timeout is 0" if timeout is None else "timeout_seconds is 0"
    return (f'on_timeout "{action}" will not be done: the migration has no deadline, since {why}. Send timeout_seconds to give it one.',)


def _of_deadline(ask: Ask, ends: Ends) -> list[Shortfall]:
    found = []
    if ask.has_keys:
        for side, flags in ((Side.SOURCE, ends.source), (Side.DESTINATION, ends.destination)):
            if flags is not None and not flags.per_migration_deadline and not _is_without_deadline(ask, ends, side):
                ability = "keep a deadline that comes with the request"
                where = "" if side is Side.SOURCE else ", or name another host"
                found.append(Shortfall(side=side, ability=ability, instead=f"{_instead(ask, ends)}{where}."))
    if ask.action is TimeoutAction.ABORT and not ends.source.abort:
        ability = "abort a migration that is over its time"
        found.append(Shortfall(side=Side.SOURCE, ability=ability, instead=f"{_instead(ask, ends)}.", is_requested=ask.has_keys))
    if ask.action is TimeoutAction.FORCE_COMPLETE:
        found += _of_forcing(ask, ends)
    return found


def _is_without_deadline(ask: Ask, ends: Ends, side: Side) -> bool:
    """Whether the request wants no deadline, and this side keeps none anyway: only a source may, where it can do what is configured."""
    if ask.request.timeout_seconds != 0:
        return False
    configured = dataclasses.replace(ask, request=dataclasses.replace(ask.request, timeout_seconds=None, on_timeout=None))
    return side is Side.DESTINATION or configured.action is None or bool(_of_deadline(configured, ends))


def _of_forcing(ask: Ask, ends: Ends) -> list[Shortfall]:
    """Pausing is the source's alone; post-copy takes both."""
    if ends.source.force_complete_by_pause or not obstacle_to_post_copy(ask, ends):
        return []
    alone = dataclasses.replace(ends, destination=None)
    side = Side.SOURCE if obstacle_to_post_copy(ask, alone) else Side.DESTINATION
    where = "" if side is Side.SOURCE else ", or name another host"
    ability = "force a migration that is over its time to complete"
    return [Shortfall(side=side, ability=ability, instead=f"{_instead(ask, ends)}{where}.", is_requested=ask.has_keys)]


def _instead(ask: Ask, ends: Ends) -> str:
    """Say what would be taken: the other action where it could be kept, otherwise a request without a deadline."""
    is_too_old = not ends.source.per_migration_deadline or (ends.destination is not None and not ends.destination.per_migration_deadline)
    can_force = ends.source.force_complete_by_pause or not obstacle_to_post_copy(ask, ends)
    if not is_too_old and ask.action is TimeoutAction.ABORT and can_force:
        return f'Send on_timeout "{TimeoutAction.FORCE_COMPLETE}"'
    if not is_too_old and ask.action is TimeoutAction.FORCE_COMPLETE and ends.source.abort:
        return f'Send on_timeout "{TimeoutAction.ABORT}"'
    return _WITHOUT_KEYS


def _of_guest(ask: Ask, ends: Ends) -> list[Shortfall]:
    found = []
    for side, flags in ((Side.SOURCE, ends.source), (Side.DESTINATION, ends.destination)):
        if flags is None:
            continue
        is_source = side is Side.SOURCE
        if not flags.live_migration:
            ability = "send a running guest" if is_source else "receive a running guest"
            found.append(
                Shortfall(side=side, ability=ability, instead="Move it while it is shut off." if is_source else "Name another host.")
            )
        if ask.is_paused and not flags.paused_guests:
            ability = "send a paused guest" if is_source else "receive a paused guest"
            found.append(Shortfall(side=side, ability=ability, instead="Let the guest run first."))
        if ask.request.block_migration is True and not flags.storage_copy:
            ability = "copy disks along"
            instead = 'Put the disks on storage that both hosts share, and send block_migration false or "auto".'
            found.append(Shortfall(side=side, ability=ability, instead=instead))
    return found
