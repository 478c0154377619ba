# SPDX-License-Identifier: Apache-2.0
"""Who the suite asks as: the people that Keystone is given, and the same as tempest's file of accounts.

Must not hand out administrators where tempest takes whoever is free.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import yaml

from wherry.testing import keystone as keystones

#: As whom Wherry validates tokens.
SERVICE_USER = "wherry"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """A user of one project."""

    name: str
    project: str
    #: Keystone's roles; the first one is what tempest knows it by.
    roles: tuple[str, ...]
    #: Whether tempest takes it for whoever asks for this role; else for the user of another project.
    has_known_role: bool = True


#: The first one is what tempest takes for the user of another project, where it asks for no role. All others share a project: the reader
#: and the manager look at servers that the member made.
PEOPLE = (
    Person(name="stranger", project="foreign", roles=("member", "reader"), has_known_role=False),
    Person(name="member", project="home", roles=("member", "reader")),
    Person(name="reader", project="home", roles=("reader",)),
    Person(name="manager", project="home", roles=("manager", "member", "reader")),
    Person(name="operator", project="home", roles=("admin",)),
)


def start_keystone(directory: pathlib.Path) -> keystones.Keystone:
    """Start a Keystone that knows them."""
    known = {person.name: (person.roles[0], person.project) for person in PEOPLE} | {SERVICE_USER: ("service", "service")}
    started = keystones.Keystone(directory, known)
    try:
        started.start()
        for person in PEOPLE:
            for role in person.roles[1:]:
                started.assign(person.name, role, f"projects/{started.projects[person.project]}")
    except BaseException:
        started.close()
        raise
    return started


def write_accounts(path: pathlib.Path) -> None:
    """Write them as tempest reads them."""
    path.write_text(yaml.safe_dump([_account(person) for person in PEOPLE], sort_keys=False))


def _account(person: Person) -> dict[str, Any]:
    account: dict[str, Any] = {
        "username": person.name,
        "password": keystones.PASSWORD,
        "project_name": person.project,
        "domain_name": "Default",
    }
    if person.has_known_role:
        account["roles"] = [person.roles[0]]
    if person.roles[0] == "admin":
        account["types"] = ["admin"]
    return account
