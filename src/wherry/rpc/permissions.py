# SPDX-License-Identifier: Apache-2.0
"""What each process may do on the bus, and the same as a nats-server's configuration.

Everything that is not named here is denied. Reads and writes no file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from wherry.rpc import addresses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Permissions:
    """Patterns of subjects."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    #: Whether it may answer, once, where a message that came to it asks for the answer.
    is_answering: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """One login, and the parts that use it."""

    name: str
    parts: tuple[addresses.Sender, ...]
    #: As it stands in the file: a variable's name after a $, or a hash in quotes. Empty for a key.
    password: str = ""
    #: Public key that it logs in with; empty for a password.
    key: str = ""


def of_part(part: addresses.Sender) -> Permissions:
    """Give what one part needs, and no more."""
    inbox = f"{addresses.inbox(part)}.>"
    if part.role is addresses.Role.AGENT:
        # What it may answer is what it was asked: no pattern of inboxes, from which it could write to anybody's.
        return Permissions(
            publish=(addresses.from_sender(part),), subscribe=(f"{addresses.to_agent(part.name)}.>", inbox), is_answering=True
        )
    if part.role is addresses.Role.API:
        return Permissions(publish=(addresses.from_sender(part),), subscribe=(inbox,))
    # A conductor may command every agent, tell the other conductors, and answer every agent and api, as late as it takes.
    answers = (addresses.inboxes(addresses.Role.AGENT), addresses.inboxes(addresses.Role.API))
    return Permissions(publish=(addresses.from_sender(part), addresses.to_agents(), *answers), subscribe=(addresses.to_conductors(), inbox))


def configuration(users: Sequence[User], *, answer_seconds: int) -> str:
    """Give the file that a nats-server includes.

    :param answer_seconds: how long after a question its answer may still be sent.
    """
    lines = [
        "# Users of Wherry's bus and what each may do there; written by wherry bus-permissions. Everything else is denied.",
        "# In the configuration of every nats-server of the cluster:   include wherry-permissions.conf",
        "#",
    ]
    if any(user.password.startswith("$") for user in users):
        lines += [
            "# Passwords are variables of nats-server's environment, which does not start while one is missing. One that is set and empty",
            '# would let everybody in. A password of digits, or with other signs than letters and digits, goes in double quotes: "12345".',
        ]
    lines += ["authorization {", "  users = ["]
    for user in users:
        lines += _lines(user, answer_seconds)
    lines += ["  ]", "}", ""]
    return "\n".join(lines)


def _lines(user: User, answer_seconds: int) -> Iterable[str]:
    given = [of_part(part) for part in user.parts]
    publish = list(dict.fromkeys(pattern for one in given for pattern in one.publish))
    subscribe = list(dict.fromkeys(pattern for one in given for pattern in one.subscribe))
    yield "    {"
    if user.key:
        # A comment of one line: a name may hold anything else.
        yield f"      # {' '.join(user.name.split())}"
        yield f"      nkey: {user.key}"
    else:
        yield f"      user: {_quoted(user.name)}, password: {user.password}"
    yield "      permissions: {"
    yield f"        publish: {{ allow: [{', '.join(map(_quoted, publish))}] }}"
    yield f"        subscribe: {{ allow: [{', '.join(map(_quoted, subscribe))}] }}"
    if any(one.is_answering for one in given):
        yield f'        allow_responses: {{ max: 1, expires: "{answer_seconds}s" }}'
    yield "      }"
    yield "    }"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
