# SPDX-License-Identifier: Apache-2.0
"""Every kind of driver at either end against every way to ask for a deadline: what the rules say comes of it, and the page that tells it.

Computes only; the functional test holds the running system against the same cases.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator

from wherry import errors
from wherry.drivers.simulated import profiles
from wherry.model import abilities, deadline, migration

_ABORT, _FORCE = deadline.TimeoutAction.ABORT, deadline.TimeoutAction.FORCE_COMPLETE
#: Seconds that the cases ask for.
TIMEOUT_SECONDS = 30

#: How a request asks, by its name in the table.
ASKED: dict[str, migration.LiveMigrationRequest] = {
    "none": migration.LiveMigrationRequest(),
    "timeout_seconds": migration.LiveMigrationRequest(timeout_seconds=TIMEOUT_SECONDS),
    "timeout_seconds 0": migration.LiveMigrationRequest(timeout_seconds=0),
    "on_timeout abort": migration.LiveMigrationRequest(on_timeout=_ABORT),
    "on_timeout force_complete": migration.LiveMigrationRequest(on_timeout=_FORCE),
    "timeout_seconds, abort": migration.LiveMigrationRequest(timeout_seconds=TIMEOUT_SECONDS, on_timeout=_ABORT),
    "timeout_seconds, force_complete": migration.LiveMigrationRequest(timeout_seconds=TIMEOUT_SECONDS, on_timeout=_FORCE),
}


class Place(enum.StrEnum):
    """Where the driver stands; at the other end stands libvirt."""

    SOURCE = "source"
    DESTINATION = "destination"
    BOTH = "both"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One cell of the matrix."""

    profile: profiles.Profile
    place: Place
    asked: str
    #: None = the migration goes on.
    refusal: errors.CapabilityMissing | None
    #: What the event of the source's check says that it goes on without.
    notes: tuple[str, ...]

    @property
    def source(self) -> profiles.Profile:
        """What stands at the source."""
        return profiles.LIBVIRT if self.place is Place.DESTINATION else self.profile

    @property
    def destination(self) -> profiles.Profile:
        """What stands at the destination."""
        return profiles.LIBVIRT if self.place is Place.SOURCE else self.profile


def driver_name(profile: profiles.Profile) -> str:
    """Give the name that the simulated driver goes by with this profile."""
    return "simulated" if profile is profiles.LIBVIRT else profile.name


def cases(source_host: str = "the source", destination_host: str = "the destination") -> Iterator[Case]:
    """Give every case, with the configuration's defaults."""
    for profile in profiles.PROFILES.values():
        for place in Place:
            for asked in ASKED:
                blank = Case(profile=profile, place=place, asked=asked, refusal=None, notes=())
                yield _judged(blank, source_host, destination_host)


def _judged(case: Case, source_host: str, destination_host: str) -> Case:
    ask = abilities.ask_of(
        ASKED[case.asked], None, configured_action=_ABORT, configured_timeout_seconds_per_gib=800, permits_post_copy=False
    )
    # As the conductor does: the source is judged before there is a destination.
    alone = abilities.shortfalls(ask, abilities.Ends(source=case.source.capabilities))
    ends = abilities.Ends(source=case.source.capabilities, destination=case.destination.capabilities)
    found = abilities.shortfalls(ask, ends)
    by_source = abilities.error_of(alone, side=abilities.Side.SOURCE, driver=driver_name(case.source), host=source_host)
    by_destination = abilities.error_of(found, side=abilities.Side.DESTINATION, driver=driver_name(case.destination), host=destination_host)
    return dataclasses.replace(case, refusal=by_source or by_destination, notes=abilities.notes(ask, ends, driver_name(case.source)))


def reference_text() -> str:
    """Give the page."""
    lines = [
        "# What a deadline in the request needs of the drivers",
        "",
        "<!-- Made by scripts/gen from wherry.testing.capability_matrix; a functional test holds the running system to it. -->",
        "",
        "A request whose deadline a driver cannot keep fails in the checks: the migration ends in `error` with the reason",
        "`capability_missing`, the server's status does not change, no guest is touched, and the event says what is missing and what",
        "to send instead. What comes from the configuration only never fails: the migration goes on without it, and the details of",
        "`compute_check_can_live_migrate_source` say so. The rules stand in `model/abilities.py`; the flags of each host are shown by",
        "os-hypervisors at microversion 2.1000. The rows are those of the default configuration (a timeout, `abort`, no post-copy);",
        "at the end that is not named stands libvirt. `timeout_seconds` 0 asks for no deadline, which takes nothing of a driver that keeps",
        "none; of a source that would keep the configured one, since its agent is too old to know the key, it is refused.",
        "",
        "Forcing to complete means post-copy where `live_migration_permit_post_copy` is on and both drivers can, otherwise a pause of the",
        "guest at the source. Post-copy is ruled out for a paused guest, for one with a device of the host, while disks are copied in the",
        "same job, and with parallel connections before QEMU 10.1 or with tunnelling (there the flag itself is off). Whether it is",
        "permitted is the source agent's configuration to say, not the conductor's.",
        "",
        "## What a guest itself rules out",
        "",
        "Read from its definition by the libvirt driver:",
        "",
        "| the guest has | a live migration | post-copy |",
        "|---|---|---|",
        "| a PCI, USB, SCSI or mediated device, a hostdev or vDPA interface, an NVMe disk, a TPM of the host | `passthrough_device` | |",
        "| a directory of the host (9p, virtiofs) | `passthrough_device` | |",
        "| memory that the processor encrypts (SEV, SEV-SNP, TDX, Secure Execution) | `memory_encrypted` | |",
        "| huge pages of a size that the destination has too few of | `huge_pages_missing` | |",
        "| huge pages of 1 GiB | goes | goes, with a warning |",
        "| memory in a file (`memoryBacking`, source `file`) | goes | no: it would lose the guest; a pause instead |",
        "| persistent memory (nvdimm, virtio-pmem) | goes | no: a pause instead |",
        "| a vhost-user device | goes | no: a pause instead |",
        "| an emulated TPM, memory in memfd, locked memory | goes | goes |",
        "",
        "## Abilities",
        "",
        *_abilities(),
        "",
        "## Outcomes",
        "",
        "| Driver | at | asked | outcome | what the event says |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(case) for case in cases()]
    return "\n".join(lines) + "\n"


def _abilities() -> list[str]:
    flags = ("live_migration", "abort", "force_complete_by_post_copy", "force_complete_by_pause", "per_migration_deadline", "paused_guests")
    rows = ["| Driver | " + " | ".join(f"`{flag}`" for flag in flags) + " |", "|---|" + "---|" * len(flags)]
    for profile in profiles.PROFILES.values():
        cells = ("yes" if getattr(profile.capabilities, flag) else "no" for flag in flags)
        rows.append(f"| {profile.name} | " + " | ".join(cells) + " |")
    return rows


def _row(case: Case) -> str:
    if case.refusal is not None:
        outcome, said = "refused", f"{case.refusal.message} {case.refusal.remedy}"
    else:
        outcome, said = ("goes on", " ".join(case.notes)) if not case.notes else ("goes on without", " ".join(case.notes))
    return f"| {case.profile.name} | {case.place.value} | {case.asked} | {outcome} | {said} |"
