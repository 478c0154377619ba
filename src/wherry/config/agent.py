# SPDX-License-Identifier: Apache-2.0
"""[agent]: which hypervisors an agent serves and how it keeps its memory.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from wherry.config import default
from wherry.config import option as opt

_HOST_NAME = re.compile(r"[a-zA-Z0-9._-]{1,255}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentHost:
    """One hypervisor host that an agent serves."""

    #: Its name in the API.
    name: str
    #: How the driver reaches its hypervisor.
    connection_uri: str
    #: Where other hosts reach it for a migration; None means by its name.
    migration_address: str | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class AgentSection:
    """Options of [agent]."""

    SECTION: ClassVar[str] = "agent"
    ABOUT: ClassVar[str] = "The process that acts on hypervisors."

    driver: str = opt.option(
        "libvirt",
        "Driver for the hypervisors: libvirt, simulated, or one that another package registers under the entry point group wherry.drivers.",
        constraint=opt.matching(r"[a-z][a-z0-9_]*", "the name of a driver"),
    )
    hosts: tuple[str, ...] = opt.option(
        (),
        "Hosts that this process serves, as NAME=URI pairs. Empty: one host, named by [DEFAULT] "
        "host and reached at [libvirt] connection_uri; with the simulated driver those of the scenario.",
    )
    migration_addresses: tuple[str, ...] = opt.option(
        (),
        "Addresses at which the hosts above receive migrations, as NAME=ADDRESS pairs. A host "
        "without a pair uses [libvirt] live_migration_inbound_addr.",
    )
    availability_zones: tuple[str, ...] = opt.option(
        (),
        "Availability zones of the hosts that this process serves, as NAME=ZONE pairs. A host without a pair is in [DEFAULT] "
        "default_availability_zone. Changed, it holds from the agent's next start on, and moves no server.",
    )
    inventory_interval_seconds: float = opt.option(
        60.0,
        "How often an agent reports everything it finds, besides reporting each change at once.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    console_max_bytes: int = opt.option(
        262_144,
        "How much of the end of a guest's console is read when somebody asks for it.",
        constraint=opt.at_least(1024, 524_288),
        unit="bytes",
    )
    default_project_id: str = opt.option(
        "admin",
        "Project of servers that an agent discovers and whose domain metadata names none.",
        constraint=opt.matching(r"[a-zA-Z0-9._-]{1,255}", "a project id"),
    )
    journal_path: str = opt.option(
        "",
        "Directory in which an agent notes what it was told and what it is about to do.",
        derived="STATE_PATH/agent",
    )
    journal_fsync: bool = opt.option(
        True,
        "Whether notes are forced to the disk before the agent acts on them. Without it a power "
        "failure may make an agent forget its last act; for tests.",
    )
    report_retry_interval_seconds: float = opt.option(
        1.0,
        "Pause before a report that no conductor acknowledged is sent again, the outcome of a migration among them.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    report_retry_max_seconds: float = opt.option(
        10.0,
        "Longest pause between two sendings of it; each one is twice as long as the one before.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    report_timeout_seconds: float = opt.option(
        5.0,
        "Longest wait for a conductor's acknowledgement before a report is sent again.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    inventory_debounce_seconds: float = opt.option(
        0.1,
        "How long an agent gathers changes of guests before it reports them together.",
        constraint=opt.at_least(0),
        unit="seconds",
    )
    post_copy_resume_initial_seconds: float = opt.option(
        1.0,
        "Pause before a post-copy that lost its connection is resumed; each further try waits twice as long.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    post_copy_resume_max_seconds: float = opt.option(
        15.0,
        "Longest pause between two tries to resume a broken post-copy.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    journal_retention_days: float = opt.option(
        7.0,
        "How long the end of a migration is remembered, so that a command that comes late is refused.",
        constraint=opt.at_least(0.01),
        unit="days",
    )
    reconnect_initial_seconds: float = opt.option(
        0.5,
        "Pause before a lost hypervisor connection is tried again; each further one is twice as long.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    reconnect_max_seconds: float = opt.option(
        15.0,
        "Longest pause between two tries to reach a hypervisor.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        names = []
        for item in self.hosts:
            name, separator, uri = item.partition("=")
            if not separator or not uri.strip() or not _HOST_NAME.fullmatch(name.strip()):
                yield (
                    f"[agent] hosts: {item!r} is not NAME=URI; write for example "
                    "hosts = h1=qemu+tcp://10.0.0.1/system,h2=qemu+tcp://10.0.0.2/system"
                )
            names.append(name.strip())
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"[agent] hosts names {name} twice; every host needs a name of its own"
        yield from _wrong_pairs("migration_addresses", self.migration_addresses, names, "NAME=ADDRESS", bool)
        what = "NAME=ZONE; a zone has 1 to 255 characters, without colon, comma or equals sign"
        yield from _wrong_pairs("availability_zones", self.availability_zones, names, what, lambda zone: bool(default.ZONE.fullmatch(zone)))
        if self.report_retry_interval_seconds > self.report_retry_max_seconds:
            yield (f"[agent] report_retry_interval_seconds must not exceed report_retry_max_seconds ({self.report_retry_max_seconds:g})")
        if self.post_copy_resume_initial_seconds > self.post_copy_resume_max_seconds:
            limit = self.post_copy_resume_max_seconds
            yield (f"[agent] post_copy_resume_initial_seconds must not exceed post_copy_resume_max_seconds ({limit:g})")
        if self.reconnect_initial_seconds > self.reconnect_max_seconds:
            yield (f"[agent] reconnect_initial_seconds must not exceed reconnect_max_seconds ({self.reconnect_max_seconds:g})")


def pairs(items: tuple[str, ...]) -> dict[str, str]:
    """Read NAME=VALUE items; only the first equals sign divides."""
    split = (item.partition("=") for item in items)
    return {name.strip(): value.strip() for name, _, value in split}


def _wrong_pairs(option: str, items: tuple[str, ...], hosts: Sequence[str], form: str, is_value: Callable[[str], bool]) -> Iterator[str]:
    """Say which items are no pairs of a host that is served and a value."""
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not is_value(value.strip()):
            yield f"[agent] {option}: {item!r} is not {form}"
        elif hosts and name.strip() not in hosts:
            yield f"[agent] {option} names {name.strip()}, which is not among hosts ({', '.join(hosts)})"
