# SPDX-License-Identifier: Apache-2.0
"""The microversions, one plain line each: the list is the history. And how a request names one.

Says what changed in words only; what a version really does stands in routes, schemas and views.

To add a version of our own: append a line at the end of HISTORY, then use its number in routes, schemas or views. Nova's numbers up to
2.104 are fixed. 2.105 to 2.999 stay free for Nova and mean 2.104 here; ours start at 2.1000, so that the two can never collide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Microversion(NamedTuple):
    """A version that compares with plain tuples: `version >= (2, 59)`."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: Version and what it changed. "(elsewhere)" marks what Nova changed in resources that Wherry does not have.
HISTORY: tuple[tuple[str, str], ...] = (
    ("2.1", "The first version: the v2.0 API with strict validation."),
    ("2.2", "(elsewhere) key pairs have a type."),
    (
        "2.3",
        "Administrators see reservation_id, launch_index, hostname, kernel_id, ramdisk_id, root_device_name, user_data of servers.",
    ),
    ("2.4", "(elsewhere) fixed addresses show whether they are reserved."),
    ("2.5", "Everybody may filter servers by ip6."),
    ("2.6", "(elsewhere) one call for all remote consoles."),
    ("2.7", "(elsewhere) public flavors refuse project access."),
    ("2.8", "(elsewhere) consoles of type mks."),
    ("2.9", "Servers show locked."),
    ("2.10", "(elsewhere) administrators manage key pairs of others."),
    ("2.11", "Services show forced_down, and PUT /os-services/force-down sets it."),
    ("2.12", "(elsewhere) virtual interfaces show net_id."),
    ("2.13", "Server groups show project_id and user_id."),
    ("2.14", "(elsewhere) evacuate loses onSharedStorage."),
    ("2.15", "Server groups know soft-affinity and soft-anti-affinity."),
    ("2.16", "Servers show host_status to administrators."),
    ("2.17", "(elsewhere) crash dumps can be triggered."),
    ("2.18", "The project id in the path is optional. Wherry accepts both forms at every version."),
    ("2.19", "Servers show description, and a new one is given it."),
    ("2.20", "(elsewhere) volumes of shelved servers."),
    ("2.21", "Instance actions of deleted servers are shown."),
    ("2.22", "POST /servers/{id}/migrations/{id}/action forces a live migration to complete."),
    ("2.23", "GET /servers/{id}/migrations lists and shows live migrations in progress; os-migrations shows migration_type and links."),
    ("2.24", "DELETE /servers/{id}/migrations/{id} aborts a running live migration."),
    ("2.25", 'os-migrateLive takes block_migration "auto" and loses disk_over_commit.'),
    ("2.26", "Servers show tags and are filtered by them."),
    ("2.27", "The header OpenStack-API-Version. Wherry reads it at every version."),
    ("2.28", "Hypervisors show cpu_info as an object instead of a string."),
    ("2.29", "(elsewhere) evacuate takes force."),
    ("2.30", "os-migrateLive takes force; a named host without it is checked by the scheduler."),
    ("2.31", "(elsewhere) console tokens of every type."),
    ("2.32", "(elsewhere) device tags when a server is created."),
    ("2.33", "Hypervisors are listed in pages."),
    ("2.34", "os-migrateLive is answered before the checks; what they say is in the instance action."),
    ("2.35", "(elsewhere) key pairs in pages."),
    ("2.36", "GET /images ends, as proxies to other services do."),
    ("2.37", "A new server names its networks: auto or none."),
    ("2.38", "An unknown status in a list of servers is a 400."),
    ("2.39", "(elsewhere) image metadata ends."),
    ("2.40", "(elsewhere) usage in pages."),
    ("2.41", "Aggregates show uuid."),
    ("2.42", "(elsewhere) device tags again."),
    ("2.43", "(elsewhere) os-hosts ends."),
    ("2.44", "(elsewhere) address actions end."),
    ("2.45", "(elsewhere) image actions answer with a body."),
    ("2.46", "The request id headers are promised. Wherry sends them at every version."),
    ("2.47", "Servers embed their flavor instead of linking it."),
    ("2.48", "Diagnostics have one form for all drivers."),
    ("2.49", "(elsewhere) tagged attachments."),
    ("2.50", "(elsewhere) quota classes show server groups."),
    ("2.51", "Everybody sees the events of an instance action; tracebacks stay the administrators'."),
    ("2.52", "A new server is given tags."),
    ("2.53", "Services and hypervisors are named by uuid; PUT /os-services/{id} replaces the older forms; hypervisors find their servers."),
    ("2.54", "(elsewhere) rebuild changes the key pair."),
    ("2.55", "Flavors show description."),
    ("2.56", "Cold migration takes a host."),
    ("2.57", "A new server is given no files, which were refused before."),
    ("2.58", "Instance actions show updated_at and are listed in pages and by changes-since."),
    ("2.59", "Migrations show uuid; os-migrations is listed in pages, by changes-since, and refuses unknown parameters."),
    ("2.60", "(elsewhere) volumes attached several times."),
    ("2.61", "Flavors show extra_specs."),
    ("2.62", "Events of instance actions show hostId, and host to administrators."),
    ("2.63", "Servers show trusted_image_certificates."),
    ("2.64", "Server groups have policy and rules."),
    ("2.65", "Live migrations that are queued or preparing can be aborted too."),
    ("2.66", "changes-before filters servers, instance actions and migrations."),
    ("2.67", "(elsewhere) volume types when a server is created."),
    ("2.68", "os-migrateLive loses force."),
    ("2.69", "Parts of the fleet that do not answer are shown as UNKNOWN. Wherry has one database, so it never needs to."),
    ("2.70", "(elsewhere) attachments show tags."),
    ("2.71", "Show server has server_groups."),
    ("2.72", "(elsewhere) ports with resource requests."),
    ("2.73", "Servers show locked_reason, lock takes one, and lists filter by locked."),
    ("2.74", "Administrators name the host of a new server without its zone."),
    ("2.75", "Unknown parameters of servers, services and hypervisors are a 400; hypervisors list servers even when there are none."),
    ("2.76", "(elsewhere) external power events."),
    ("2.77", "(elsewhere) unshelve to a zone."),
    ("2.78", "(elsewhere) server topology."),
    ("2.79", "(elsewhere) attachments deleted with the server."),
    ("2.80", "Migrations show user_id and project_id; os-migrations filters by them."),
    ("2.81", "(elsewhere) aggregates cache images."),
    ("2.82", "(elsewhere) external accelerator events."),
    ("2.83", "More filters for lists of servers by everybody."),
    ("2.84", "Events of instance actions show details to administrators."),
    ("2.85", "(elsewhere) attachments can be updated."),
    ("2.86", "Nova validates extra specs. Wherry keeps what it is sent."),
    ("2.87", "(elsewhere) rescue of volume-backed servers."),
    ("2.88", "Hypervisors lose their counters and show uptime; their statistics and uptime calls end."),
    ("2.89", "(elsewhere) attachments show attachment_id."),
    ("2.90", "Servers show their hostname to everybody, and a new one is given it."),
    ("2.91", "(elsewhere) unshelve to a host."),
    ("2.92", "(elsewhere) key pairs are imported only."),
    ("2.93", "(elsewhere) rebuild of volume-backed servers."),
    ("2.94", "The hostname of a new server may be a full one."),
    ("2.95", "(elsewhere) evacuated servers are left stopped."),
    ("2.96", "Servers show pinned_availability_zone."),
    ("2.97", "(elsewhere) shares."),
    ("2.98", "Servers show the properties of their image."),
    ("2.99", "(elsewhere) direct SPICE consoles."),
    ("2.100", "Servers show scheduler_hints."),
    ("2.101", "(elsewhere) volumes are attached in the background."),
    ("2.102", "Unknown parameters of a server's migrations are a 400."),
    ("2.103", "Nothing in the resources that Wherry has."),
    ("2.104", "PUT /servers/{id} changes pinned_availability_zone."),
    (
        "2.1000",
        "Wherry's own: os-migrateLive takes timeout_seconds and on_timeout; os-checkMigrateLive says what would become of it; a server's "
        "migrations show the deadline in force, where it comes from and when it is, the reason for their state, how they go, and "
        "while they are queued their place and what they wait for; "
        "migrations that have ended can be shown; os-migrations shows the reason, too; server groups take and lose members; hypervisors "
        "show what their driver can do.",
    ),
)

MINIMUM = Microversion(2, 1)
#: The last version that is Nova's.
NOVA_MAXIMUM = Microversion(2, 104)
#: The first version that is ours.
OWN_MINIMUM = Microversion(2, 1000)
MAXIMUM = Microversion(*(int(part) for part in HISTORY[-1][0].split(".")))

_FORM = re.compile(r"([1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
_SERVICE = "compute"


class Malformed(ValueError):
    """The text is no version at all; its message is for the client."""


class Unknown(ValueError):
    """A version that is not served; its message is for the client."""

    def __init__(self, version: Microversion) -> None:
        super().__init__(f"Version {version} is not supported by the API. Minimum is {MINIMUM} and maximum is {MAXIMUM}.")
        self.version = version


def parse(text: str) -> Microversion:
    """Read "2.34" or "latest" and give the version that is applied, which for 2.105 to 2.999 is 2.104.

    :raises Malformed: when the text is neither
    :raises Unknown: when no such version is served
    """
    if text == "latest":
        return MAXIMUM
    match = _FORM.fullmatch(text)
    if match is None:
        raise Malformed(f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = Microversion(int(match[1]), int(match[2]))
    if not MINIMUM <= version <= MAXIMUM:
        raise Unknown(version)
    return NOVA_MAXIMUM if NOVA_MAXIMUM < version < OWN_MINIMUM else version


def requested(values: Iterable[str], legacy: str | None) -> str | None:
    """Find the text that names the version for this service; None when the request names none.

    :param values: each value of OpenStack-API-Version, which may be a list of services; the last entry for this service counts
    :param legacy: the value of X-OpenStack-Nova-API-Version, which counts only when the other says nothing
    """
    found = legacy.strip() if legacy is not None else None
    for value in values:
        for entry in value.split(","):
            service, _, text = entry.strip().partition(" ")
            if service.lower() == _SERVICE and text.strip():
                found = text.strip()
    return found
