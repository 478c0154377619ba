# SPDX-License-Identifier: Apache-2.0
"""Making servers and deleting them: what is asked for, and what a host is told to build.

Pure, and neutral between hypervisors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from wherry.model.image import Image


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """The whole request for one server, stored with the operation; what the server shows of it is in its record."""

    image: Image
    #: Availability zone that the host must be in; None = any.
    zone: str | None = None
    #: Names that the host and its hypervisor must have; None = any.
    host: str | None = None
    node: str | None = None
    #: Whether the named host is taken without asking the filters, as Nova does for zone:host.
    is_forced: bool = False
    #: Whether the guest gets a network interface where the host has a bridge for guests.
    has_network: bool = True
    #: Tells the kinds of request apart where they are stored.
    kind: Literal["build"] = "build"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeleteRequest:
    """That a server is to be deleted."""

    #: Of a server that waits to be confirmed or reverted: the migration, which ends with it.
    migration_id: str | None = None
    #: Tells the kinds of request apart where they are stored.
    kind: Literal["delete"] = "delete"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestOrder:
    """What a host is to build."""

    uuid: str
    #: Name of the guest on its hypervisor, which no other guest has.
    name: str
    #: The server's name, for people who look at the hypervisor.
    title: str
    memory_mib: int
    vcpus: int
    #: Least size of the disk; the image's own where that is larger, as with 0.
    root_gib: int
    image: Image
    project_id: str
    user_id: str
    has_network: bool = True
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


def instance_name(number: int) -> str:
    """Give the name that a guest has on its hypervisor, from the internal id of its server, in Nova's form."""
    return f"instance-{number:08x}"
