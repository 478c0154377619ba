# SPDX-License-Identifier: Apache-2.0
"""Who sends to whom, as subjects: one subject for each role, sender or host, and message type.

The sender is a token of the subject, which a bus can hold a process to by permissions; no message says who sent it. Sends nothing itself.

    wherry.conductor.agent.<host>.<message>     from the agent of a host
    wherry.conductor.api.<name>.<message>       from an api process
    wherry.conductor.conductor.<name>.all.<message>     from a conductor, to each of them
    wherry.agent.<host>.<message>               from a conductor
    wherry.inbox.<role>.<host or name>.…        an answer to who asked
"""

from __future__ import annotations

import dataclasses
import enum
import re

_PREFIX = "wherry"
_TO_ALL = "all."
_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")


class Role(enum.StrEnum):
    """What a process is."""

    API = "api"
    CONDUCTOR = "conductor"
    AGENT = "agent"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a message goes: to any conductor, to each of them, or to the agent of one host."""

    role: Role
    host: str = ""
    is_everybody: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the agent of a host, or an api process or conductor by name."""

    role: Role
    name: str


def conductor() -> Address:
    """Address any one of the conductors."""
    return Address(Role.CONDUCTOR)


def conductors() -> Address:
    """Address each of the conductors, the sender included where it is one."""
    return Address(Role.CONDUCTOR, is_everybody=True)


def agent(host: str) -> Address:
    """Address the agent of this host."""
    return Address(Role.AGENT, host)


def subject(address: Address, sender: Sender, message_name: str) -> str:
    """Give the subject on which `sender` sends this message there."""
    if address.role is Role.AGENT:
        return f"{to_agent(address.host)}.{message_name}"
    return f"{from_sender(sender)[:-1]}{_TO_ALL if address.is_everybody else ''}{message_name}"


def pattern(address: Address) -> str:
    """Give the pattern under which everything sent there is found, unknown message names included."""
    if address.role is Role.AGENT:
        return f"{to_agent(address.host)}.*"
    return f"{_PREFIX}.conductor.*.*.{_TO_ALL if address.is_everybody else ''}*"


def to_agent(host: str) -> str:
    """Give the beginning of the subjects on which this host's agent is commanded."""
    return f"{_PREFIX}.agent.{encode(host)}"


def to_agents() -> str:
    """Give the pattern of everything that agents are sent."""
    return f"{_PREFIX}.agent.>"


def to_conductors() -> str:
    """Give the pattern of everything that conductors are sent."""
    return f"{_PREFIX}.conductor.>"


def from_sender(sender: Sender) -> str:
    """Give the pattern of everything that `sender` sends to conductors, and nobody else."""
    return f"{_PREFIX}.conductor.{sender.role.value}.{encode(sender.name)}.>"


def inboxes(role: Role) -> str:
    """Give the pattern of all inboxes of a role."""
    return f"{_PREFIX}.inbox.{role.value}.>"


def inbox(sender: Sender) -> str:
    """Give the beginning of the subjects on which `sender` gets its answers, and nobody else."""
    return f"{_PREFIX}.inbox.{sender.role.value}.{encode(sender.name)}"


def may_be_answered(subject_text: str, reply_subject: str) -> bool:
    """Whether an answer goes to who asked. What a sender gives as the place for its answer is its own word, and could be anybody's."""
    tokens = subject_text.split(".")
    owner = f"{Role.CONDUCTOR.value}." if tokens[1] == Role.AGENT.value else f"{tokens[2]}.{tokens[3]}."
    return reply_subject.startswith(f"{_PREFIX}.inbox.{owner}")


def queue(address: Address) -> str:
    """Give the queue group: conductors share their messages, an agent's are its own."""
    return "conductors" if address.role is Role.CONDUCTOR and not address.is_everybody else ""


def heard_at(address: Address) -> tuple[Address, ...]:
    """Give where somebody listens who has this address: a conductor also to what is said to all of them."""
    return (address, conductors()) if address == conductor() else (address,)


def sender_of(subject_text: str) -> str:
    """Give who sent a message: an agent's host name as it is, others as `role:name`, which no host may be called."""
    tokens = subject_text.split(".")
    if tokens[1] == Role.AGENT.value:
        return f"{Role.CONDUCTOR.value}:"
    role, name = tokens[2], decode(tokens[3])
    return name if role == Role.AGENT.value else f"{role}:{name}"


def role_of(subject_text: str) -> str:
    """Give what sent a message: a Role, or whatever else a process on a bus without permissions calls itself."""
    tokens = subject_text.split(".")
    return Role.CONDUCTOR.value if tokens[1] == Role.AGENT.value else tokens[2]


def encode(name: str) -> str:
    """Make a name one token: dots and all else but letters, digits, dashes and underscores become =XX."""
    return _UNSAFE.sub(lambda match: b"=%02X" % match.group()[0], name.encode()).decode()


def decode(token: str) -> str:
    """Undo `encode`."""
    raw = _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), token)
    return raw.encode("latin-1").decode("utf-8", errors="replace")
