# SPDX-License-Identifier: Apache-2.0
"""The command `wherry`: chooses what to run, and says in one line what is wrong with how it was asked."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from wherry import __version__, errors


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the programs; gives the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["lab"]:
        # The lab has a command line of its own, and words after `--` that are not ours to read.
        from wherry.testing.lab import cli as lab_cli

        return lab_cli.main(words[1:])
    arguments = _parser().parse_args(words)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output (head, a pager) has enough of it; what is left is flushed to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except errors.Error as error:
        print(f"wherry: {errors.told(error.message, error.remedy)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    from wherry.cmd import bus_key, bus_permissions
    from wherry.cmd import images as image_commands

    parser = argparse.ArgumentParser(prog="wherry", description="Live migration for KVM fleets, by the OpenStack Compute API.")
    parser.add_argument("--version", action="version", version=f"wherry {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command(commands, "all-in-one", "run api, conductor and agents in this process", _all_in_one)
    _command(commands, "api", "run an api: the Compute API over HTTP", _api)
    _command(commands, "conductor", "run a conductor: drives every migration to its end", _conductor)
    _command(commands, "agent", "run an agent: acts on the hypervisors of one or more hosts", _agent)
    database = commands.add_parser("db", help="look after the database", description="Look after the database.")
    verbs = database.add_subparsers(title="commands", metavar="COMMAND", required=True)
    upgrade = _command(verbs, "upgrade", "bring the schema up to date", _db_upgrade)
    upgrade.add_argument("--expand", action="store_true", help="apply only what may be applied while processes of the release before run")
    _command(verbs, "check", "say whether the schema is up to date; exit status 1 when it is not", _db_check)
    images = commands.add_parser("image", help="look after the images", description="Look after the images that servers are made from.")
    verbs = images.add_subparsers(title="commands", metavar="COMMAND", required=True)
    image_commands.add_options(_command(verbs, "add", "copy a file into the directory of images and list it", image_commands.add))
    _command(verbs, "list", "print the images, one a line", image_commands.show_all)
    _command(verbs, "remove", "delete an image; servers made from it keep what they have", image_commands.remove).add_argument("id")
    status = _command(commands, "status", "say what runs, who holds which lease, what is stuck and why, and what to do", _status)
    status.add_argument("--format", choices=("table", "json"), default="table", help="how to print it (default: table)")
    status.add_argument("--check", action="store_true", help="end with status 2 when something needs attention, for monitoring")
    _command(commands, "config", "print every option with its value, after reading files and environment", _config)
    permissions = _command(commands, "bus-permissions", "print what each process may do on the bus, for nats-server", _bus_permissions)
    bus_permissions.add_options(permissions)
    key = commands.add_parser("bus-key", help="make the key that a process logs in at the bus with, and print its public half")
    bus_key.add_options(key)
    key.set_defaults(run=bus_key.run)
    commands.add_parser("lab", help="libvirt hosts on this machine, for trying and testing", add_help=False)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command that takes configuration files."""
    parser = commands.add_parser(name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.")
    parser.add_argument(
        "--config-file",
        action="append",
        default=[],
        metavar="FILE",
        help="configuration file; may be given several times, a later one wins",
    )
    parser.set_defaults(run=run)
    return parser


def _all_in_one(arguments: argparse.Namespace) -> int:
    from wherry.cmd import all_in_one

    return all_in_one.run(arguments.config_file)


def _api(arguments: argparse.Namespace) -> int:
    from wherry.cmd import api

    return api.run(arguments.config_file)


def _conductor(arguments: argparse.Namespace) -> int:
    from wherry.cmd import conductor

    return conductor.run(arguments.config_file)


def _agent(arguments: argparse.Namespace) -> int:
    from wherry.cmd import agent

    return agent.run(arguments.config_file)


def _db_upgrade(arguments: argparse.Namespace) -> int:
    from wherry.cmd import database

    return database.upgrade(arguments.config_file, is_expanding_only=arguments.expand)


def _db_check(arguments: argparse.Namespace) -> int:
    from wherry.cmd import database

    return database.check(arguments.config_file)


def _status(arguments: argparse.Namespace) -> int:
    from wherry.cmd import status

    return status.run(arguments.config_file, output=arguments.format, is_check=arguments.check)


def _bus_permissions(arguments: argparse.Namespace) -> int:
    from wherry.cmd import bus_permissions

    return bus_permissions.run(arguments)


def _config(arguments: argparse.Namespace) -> int:
    from wherry import config

    for name, value in config.settings(config.load(arguments.config_file)):
        print(f"{name} = {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
