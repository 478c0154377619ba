# SPDX-License-Identifier: Apache-2.0
"""`wherry bus-permissions`: print what a nats-server includes so that each process can do on the bus what it must, and nothing else.

Makes up no password: they are hashes that the operator made, or names of variables.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import re
from collections.abc import Iterator

from wherry import errors
from wherry.rpc import addresses, permissions

#: As htpasswd writes it; nats-server 2.9 takes each of these beginnings for a hash.
_HASHED = re.compile(r"(?P<user>[^:]+):(?P<secret>\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53})")
#: A user's public key: 35 bytes in base32.
_KEYED = re.compile(r"(?P<user>[^:]+):(?P<secret>U[A-Z2-7]{55})")
#: What an answer may come later than who asked waits for it, in seconds.
_LATENESS_SECONDS = 60


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked for."""
    for role, name in ((addresses.Role.AGENT, "HOST"), (addresses.Role.API, "HOST"), (addresses.Role.CONDUCTOR, "HOST")):
        parser.add_argument(
            f"--{role.value}",
            action="append",
            default=[],
            metavar=name,
            help=f"a user {role.value}-{name} for the {role.value} of that host; may be given several times",
        )
    parser.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="NAME=ROLE:HOST,…",
        help="one user for several parts that share a configuration, such as control=api:c1,conductor:c1; may be given several times",
    )
    parser.add_argument(
        "--keys",
        metavar="FILE",
        help="public keys in place of passwords, a line NAME:KEY a user; wherry bus-key makes them",
    )
    parser.add_argument(
        "--hashes",
        metavar="FILE",
        help="bcrypt hashes of the passwords, a line NAME:HASH a user, as htpasswd -B writes them; "
        "without it the passwords are variables of nats-server's environment",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration.

    :raises ConfigInvalid: what was asked for makes no sense.
    """
    # Here, for every command's --help comes through this module.
    from wherry import config as configs

    config = configs.load(arguments.config_file)
    named = list(_named(arguments))
    if not named:
        raise _wrong("users", "none is named.", "Name the processes: --agent HOST, --api HOST, --conductor HOST, --user NAME=ROLE:HOST,….")
    if arguments.keys is not None and arguments.hashes is not None:
        raise _wrong("--keys", "a user has a key or a password.", "Give --keys or --hashes.")
    if arguments.keys is not None:
        keys = _of_file("--keys", arguments.keys, named, _KEYED, "a line NAME:KEY, the public key that wherry bus-key has printed")
        users = [permissions.User(name=name, parts=parts, key=keys[name]) for name, parts in named]
    else:
        passwords = _variables(named) if arguments.hashes is None else _hashes(arguments.hashes, named)
        users = [permissions.User(name=name, parts=parts, password=passwords[name]) for name, parts in named]
    longest = max(config.bus.rpc_response_timeout_seconds, config.default.long_rpc_timeout, config.agent.report_timeout_seconds)
    print(permissions.configuration(users, answer_seconds=math.ceil(longest) + _LATENESS_SECONDS), end="")
    return 0


def _named(arguments: argparse.Namespace) -> Iterator[tuple[str, tuple[addresses.Sender, ...]]]:
    seen: set[str] = set()
    for name, parts in _asked_for(arguments):
        if name in seen:
            raise _wrong("users", f"{name} is named twice.", "Name each user once; --user gives one user several parts.")
        seen.add(name)
        yield name, parts


def _asked_for(arguments: argparse.Namespace) -> Iterator[tuple[str, tuple[addresses.Sender, ...]]]:
    for role in addresses.Role:
        for host in getattr(arguments, role.value):
            yield f"{role.value}-{host}", (_part(role.value, host),)
    for text in arguments.user:
        name, _, parts = text.partition("=")
        if not name or not parts:
            raise _wrong("--user", f"{text} is not a user.", "Write NAME=ROLE:HOST,ROLE:HOST,….")
        yield name, tuple(_part(role, host) for role, _, host in (part.partition(":") for part in parts.split(",")))


def _part(role: str, host: str) -> addresses.Sender:
    roles = [one.value for one in addresses.Role]
    if role not in roles or not host:
        raise _wrong("--user", f"{role}:{host} is not a part.", f"Write ROLE:HOST, ROLE being one of {', '.join(roles)}.")
    return addresses.Sender(addresses.Role(role), host)


def _variables(named: list[tuple[str, tuple[addresses.Sender, ...]]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, _ in named:
        variable = "$WHERRY_BUS_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        if variable in found.values():
            others = ", ".join(other for other, its in found.items() if its == variable)
            raise _wrong("users", f"{name} and {others} would have the same variable {variable}.", "Give the passwords with --hashes.")
        found[name] = variable
    return found


def _hashes(path: str, named: list[tuple[str, tuple[addresses.Sender, ...]]]) -> dict[str, str]:
    found = _of_file("--hashes", path, named, _HASHED, "a line NAME:HASH with a bcrypt hash, as htpasswd -B writes it")
    return {name: f'"{text}"' for name, text in found.items()}


def _of_file(
    option: str, path: str, named: list[tuple[str, tuple[addresses.Sender, ...]]], pattern: re.Pattern[str], line_wanted: str
) -> dict[str, str]:
    """Read what a file has for each user."""
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(option, f"{path} cannot be read: {error}.", f"Name a text file, of which each user has {line_wanted}.") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = pattern.fullmatch(line.strip())
        if match is not None:
            found[match["user"]] = match["secret"]
        elif line.strip() and not line.startswith("#"):
            # Not the line itself, which may hold a password.
            raise _wrong(option, f"{path}, line {number} is something else.", f"Write {line_wanted}.")
    missing = [name for name, _ in named if name not in found]
    if missing:
        raise _wrong(option, f"{path} has no line for {', '.join(missing)}.", f"Write for each {line_wanted}.")
    return found


def _wrong(where: str, problem: str, instead: str) -> errors.ConfigInvalid:
    return errors.ConfigInvalid(where=where, problem=problem, instead=instead)
