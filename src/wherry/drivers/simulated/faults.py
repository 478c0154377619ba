# SPDX-License-Identifier: Apache-2.0
"""Scripted faults of calls: which call of which method fails, and how. Knows nothing of what the calls do."""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
from collections.abc import Callable, Mapping

from wherry import errors


class FaultKind(enum.StrEnum):
    """What happens to the call."""

    #: It raises the error named by `slug`.
    RAISE = "raise"
    #: It takes `seconds` longer.
    DELAY = "delay"
    #: It gets no answer: HypervisorUnavailable after the world's call time-out.
    HANG = "hang"
    #: The host's daemon dies in it, and is back after `seconds`, 0 = never.
    CRASH = "crash"


class When(enum.StrEnum):
    """Whether the call has its effect."""

    BEFORE = "before"
    #: It has, and only its answer is affected.
    AFTER = "after"


@dataclasses.dataclass(kw_only=True, slots=True)
class CallFault:
    """One fault: of the calls that match, the `nth`, or each."""

    kind: FaultKind
    #: Name of the driver's method; method, host and guest may hold * and ?.
    method: str = "*"
    host: str = "*"
    #: uuid or name of the guest.
    guest: str = "*"
    #: 1 = the first call that matches; 0 = each.
    nth: int = 1
    when: When = When.BEFORE
    slug: str = "hypervisor_failure"
    fields: Mapping[str, errors.Field] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    #: Calls that matched so far.
    seen: int = 0

    def error(self, host: str, method: str, instance_uuid: str) -> errors.Error:
        """Make the error of a RAISE; fields that it does not name are filled with what is known."""
        known: dict[str, errors.Field] = {
            "host": host,
            "what": method,
            "uuid": instance_uuid,
            "detail": "scripted fault",
        }
        return errors.known_slugs()[self.slug](**known | dict(self.fields))


class FaultList:
    """The faults of one world. Empty, it costs one look."""

    def __init__(self) -> None:
        self._faults: list[CallFault] = []

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, fault: CallFault) -> Callable[[], None]:
        """Add one; the function given back takes it away."""
        self._faults.append(fault)

        def remove() -> None:
            if fault in self._faults:
                self._faults.remove(fault)

        return remove

    def clear(self) -> None:
        """Take all away."""
        self._faults.clear()

    def matching(self, method: str, host: str, names: tuple[str, ...]) -> list[CallFault]:
        """Count this call, and give the faults that it meets, in the order they were added."""
        met = []
        for fault in self._faults:
            if not fnmatch.fnmatchcase(method, fault.method) or not fnmatch.fnmatchcase(host, fault.host):
                continue
            if fault.guest != "*" and not any(fnmatch.fnmatchcase(name, fault.guest) for name in names):
                continue
            fault.seen += 1
            if fault.nth in (0, fault.seen):
                met.append(fault)
        return met
