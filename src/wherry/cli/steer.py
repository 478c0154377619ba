# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration abort` and `… force complete`: what one does to a migration that goes on."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from wherry.cli import base, following, migrations
from wherry.model import states


class _Steer(base.LiveMigrationCommand, command.ShowOne):
    """Asks for something, and on --wait sees whether it came so."""

    #: What is being done, for messages: "Aborting".
    doing = ""
    #: The status in which it has been done.
    wanted = states.Status.COMPLETED

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        parser.add_argument("migration", metavar="<migration>", nargs="?", help="Migration (ID or UUID); default: the one that goes on")
        parser.add_argument(
            "--wait", action="store_true", help=f"Wait for the end; exit status 1 when it is not `{self.wanted.value}`, with the reason"
        )
        following.add_options(parser, waits="With --wait,")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        server = self.api.find_server(parsed_args.server)
        record = self._find(server, parsed_args.migration)
        request_id = self.send(server, record)
        followed = following.Followed(name=server[1], record=record, request_id=request_id)
        why = ""
        if parsed_args.wait:
            self.follow([followed], following.patience_of(parsed_args))
            why = self._judge(followed)
        return base.ANSWER_COLUMNS, base.answer_row(server, followed.record.status, followed.record, request_id, why)

    def send(self, server: tuple[str, str], record: migrations.Record) -> str:
        """Ask for it; gives the request id."""
        raise AssertionError(f"{type(self).__name__} says what it sends")

    def _find(self, server: tuple[str, str], named: str | None) -> migrations.Record:
        if named is not None:
            return self.migrations.show(server[0], named)
        # A server has one at a time. What the checks are still about is not listed as going on, but it is the last one.
        newest = self.migrations.newest_of(server[0])
        if newest is None or newest.has_ended:
            raise exceptions.CommandError(
                f"Server {server[1]} has no live migration that goes on. "
                f"`openstack live migration list --server {server[1]}` shows those that ended."
            )
        return newest

    def _judge(self, followed: following.Followed) -> str:
        record = followed.record
        if not record.has_ended:
            return ""
        why = self.migrations.why(record, followed.events)
        if record.status != self.wanted.value:
            self.exit_status = base.FAILED
            self.complain(f"{followed.name}: ended as {record.status}, not as {self.wanted.value}{f': {why}' if why else ''}")
        return why


class AbortLiveMigration(_Steer):
    """Abort a live migration: the server stays where it is."""

    doing = "Aborting"
    wanted = states.Status.CANCELLED

    def send(self, server: tuple[str, str], record: migrations.Record) -> str:
        return self.api.delete(f"Aborting live migration {record.id} of server {server[1]}", _path(server, record))


class ForceCompleteLiveMigration(_Steer):
    """Force a live migration to complete: by post-copy, or by pausing the server until it has arrived."""

    doing = "Forcing"
    wanted = states.Status.COMPLETED

    def send(self, server: tuple[str, str], record: migrations.Record) -> str:
        doing = f"Forcing live migration {record.id} of server {server[1]} to complete"
        return self.api.post(doing, f"{_path(server, record)}/action", {"force_complete": None})


def _path(server: tuple[str, str], record: migrations.Record) -> str:
    return f"/servers/{server[0]}/migrations/{record.id}"
