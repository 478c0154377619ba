# SPDX-License-Identifier: Apache-2.0
"""Who the suite asks as: the people that Keystone is given, and the same as tempest's file of accounts.

Must not hand out administrators where tempest takes whoever is free.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
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


#: Project of guests that nobody made through the API: no test finds them among its own.
FOUND_PROJECT = "found"


def people_for(workers: int) -> list[Person]:
    """Give a set of people to each worker.

    Those without a role that tempest knows come first: they are whom it takes for the user of another project. Reader and manager share the
    member's project, whose servers they look at; the operator, who has none there, must not find those without asking for all projects.
    """
    numbers = range(1, workers + 1)
    strangers = [
        Person(name=f"stranger-{number}", project=f"foreign-{number}", roles=("member", "reader"), has_known_role=False)
        for number in numbers
    ]
    return strangers + [
        person
        for number in numbers
        for person in (
            Person(name=f"member-{number}", project=f"home-{number}", roles=("member", "reader")),
            Person(name=f"reader-{number}", project=f"home-{number}", roles=("reader",)),
            Person(name=f"manager-{number}", project=f"home-{number}", roles=("manager", "member", "reader")),
            Person(name=f"operator-{number}", project=f"operations-{number}", roles=("admin",)),
        )
    ]


def start_keystone(directory: pathlib.Path, people: Sequence[Person]) -> keystones.Keystone:
    """Start a Keystone that knows them."""
    known = {person.name: (person.roles[0], person.project) for person in people}
    known |= {SERVICE_USER: ("service", "service"), "finder": ("reader", FOUND_PROJECT)}
    started = keystones.Keystone(directory, known, threads=1)
    try:
        started.start()
        for person in people:
            for role in person.roles[1:]:
                started.assign(person.name, role, f"projects/{started.projects[person.project]}")
    except BaseException:
        started.close()
        raise
    return started


def write_accounts(path: pathlib.Path, people: Sequence[Person]) -> None:
    """Write them as tempest reads them."""
    path.write_text(yaml.safe_dump([_account(person) for person in people], sort_keys=False))


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
