# SPDX-License-Identifier: Apache-2.0
"""What the body of a new server asks for: its image, place and number are read here, and what cannot be had is refused with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from wherry import errors
from wherry.api import call as api_call
from wherry.api import faults
from wherry.api.schemas import parameter_types
from wherry.db import uow as wherry_uow
from wherry.model import image
from wherry.policies import server_create as policies

#: Servers that one request may make.
_MOST_SERVERS = 100
#: Key of the body -> why it is refused when it holds anything.
_REFUSED: Mapping[str, str] = {
    "block_device_mapping": "There are no volumes here. Send imageRef alone.",
    "key_name": "There are no key pairs here: nothing in the guest would read one. Leave key_name out.",
    "user_data": "Nothing in the guest would find user_data: there is neither a metadata service nor a configuration drive. Leave it out.",
    "personality": "No files are put into guests here. Leave personality out.",
    "trusted_image_certificates": "Signatures of images are not looked at here. Leave trusted_image_certificates out.",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a server is asked to be; None = anywhere."""

    zone: str | None = None
    host: str | None = None
    node: str | None = None
    is_forced: bool = False


def refuse_unknown(asked: Mapping[str, Any]) -> None:
    """Refuse what the API knows and this service does not have.

    :raises HttpFault: 400 that says what to send instead
    """
    for name, why in _REFUSED.items():
        if asked.get(name):
            raise faults.bad_request(f"Invalid input for field/attribute {name}. {why}")
    if parameter_types.as_bool(asked.get("config_drive", False)):
        raise faults.bad_request("Invalid input for field/attribute config_drive. There are no configuration drives here. Send false.")
    networks = asked.get("networks")
    if isinstance(networks, list) and networks:
        raise faults.bad_request(
            "Invalid input for field/attribute networks. There is no network service here: a guest has an interface at its host's bridge "
            "or none. Send auto or none, or before 2.37 leave networks out."
        )
    others = [group.get("name") for group in asked.get("security_groups", ()) if group.get("name") != "default"]
    if others:
        raise faults.bad_request(f"Unable to find security group with name or id '{others[0]}'. There is only default here.")
    for mapping in asked.get("block_device_mapping_v2", ()):
        if not _is_the_image(mapping, asked):
            raise faults.bad_request(f"Invalid input for field/attribute block_device_mapping_v2. {_REFUSED['block_device_mapping']}")


def _is_the_image(mapping: object, asked: Mapping[str, Any]) -> bool:
    """Say whether a mapping only repeats what imageRef says, as some clients do."""
    if not isinstance(mapping, Mapping):
        return False
    kinds = (mapping.get("source_type"), mapping.get("destination_type", "local"), str(mapping.get("boot_index", "0")))
    return kinds == ("image", "local", "0") and mapping.get("uuid") == asked.get("imageRef")


def counts_of(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Give the least and the most servers that are wanted."""
    least = int(asked.get("min_count", 1))
    most = int(asked.get("max_count", least))
    if least > most:
        raise faults.bad_request("min_count must be <= max_count")
    if most > _MOST_SERVERS:
        raise faults.bad_request(f"Invalid input for field/attribute max_count. Value: {most}. Send {_MOST_SERVERS} at most.")
    return least, most


async def image_of(call: api_call.Call, asked: Mapping[str, Any]) -> image.Image:
    """Find the image.

    :raises HttpFault: 400 in Nova's words when there is none of that id, or none was named
    """
    named = asked.get("imageRef")
    if not named:
        raise faults.bad_request("Invalid imageRef provided. There are no volumes to boot from here: send the id of an image.")
    try:
        return await call.parts.images.get(str(named).lower(), call.caller.token)
    except errors.ImageNotFound as error:
        raise faults.bad_request(f"Can not find requested image {named}. {error.remedy}") from error


def place_of(call: api_call.Call, asked: Mapping[str, Any]) -> Place:
    """Read where the server is to be; only who may name hosts names one.

    :raises Forbidden: naming the rule
    """
    zone, host, node = asked.get("availability_zone"), asked.get("host"), asked.get("hypervisor_hostname")
    if host is not None or node is not None:
        call.require(policies.REQUESTED_DESTINATION)
        return Place(zone=zone or None, host=host, node=node)
    if zone is None or ":" not in zone:
        return Place(zone=zone or None)
    call.require(policies.FORCED_HOST)
    parts = zone.split(":")
    if len(parts) > 3:
        raise faults.bad_request(f"Unable to parse availability zone {zone}. Send ZONE:HOST or ZONE:HOST:NODE.")
    named = [part or None for part in (*parts, "")][:3]
    return Place(zone=named[0], host=named[1], node=named[2], is_forced=True)


async def require_place(uow: wherry_uow.UnitOfWork, place: Place) -> None:
    """Make sure that there is such a zone and such a host.

    :raises HttpFault: 400 that names what there is not
    """
    hosts = await uow.hosts.list()
    if place.zone is not None and place.zone not in {host.zone for host in hosts}:
        raise faults.bad_request("The requested availability zone is not available")
    if place.host is not None and place.host not in {host.name for host in hosts}:
        raise faults.bad_request(f"Compute host {place.host} could not be found.")
    if place.node is not None and place.node not in {host.description.hypervisor_hostname for host in hosts}:
        raise faults.bad_request(f"Compute host {place.node} could not be found.")
