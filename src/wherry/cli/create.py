# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration create`: one request per server, a table of the answers, and on --wait what became of each."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from wherry.cli import base, compute, following
from wherry.model import deadline

_BLOCK_MIGRATION: dict[str, str | bool] = {"auto": "auto", "yes": True, "no": False}
_REFUSED = "refused"


@dataclasses.dataclass(kw_only=True, slots=True)
class _Asked:
    """A server and what was answered."""

    id: str
    name: str
    request_id: str | None = None
    followed: following.Followed | None = None
    #: What the service said against it.
    refusal: str = ""


class CreateLiveMigration(base.LiveMigrationCommand, command.Lister):
    """Live-migrate servers: each keeps running while it moves to another host.

    Sent at the newest microversion that the service offers, so that the answer comes before the checks; --wait tells what became of it.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("servers", metavar="<server>", nargs="*", help="Servers to move (name or ID)")
        parser.add_argument("--from-host", metavar="<host>", help="Move every server that is on this host")
        add_request_options(parser)
        parser.add_argument(
            "--wait", action="store_true", help="Wait for the end; exit status 1 when a server did not arrive, with the reason"
        )
        following.add_options(parser, waits="With --wait,")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        servers = self._servers(parsed_args)
        body, version = _body(parsed_args, self.api)
        asked = [self._ask(server, body, version) for server in servers]
        accepted = [one.followed for one in asked if one.followed is not None]
        if parsed_args.wait and accepted:
            self.follow(accepted, following.patience_of(parsed_args))
        rows = [self._row(one, is_awaited=parsed_args.wait) for one in asked]
        return base.ANSWER_COLUMNS, rows

    def _servers(self, arguments: argparse.Namespace) -> list[tuple[str, str]]:
        if bool(arguments.servers) == bool(arguments.from_host):
            raise exceptions.CommandError("Name servers, or a host with --from-host; one of the two.")
        if arguments.from_host:
            found = self.api.servers_on(arguments.from_host)
            if not found:
                self.api.require_host(arguments.from_host)
                self.tell(f"No server is on {arguments.from_host}.")
            return found
        # Everything is looked up before anything is asked for: a misspelt name moves nothing.
        return list(dict.fromkeys(self.api.find_server(named) for named in arguments.servers))

    def _ask(self, server: tuple[str, str], body: dict[str, Any], version: compute.Version) -> _Asked:
        one = _Asked(id=server[0], name=server[1])
        known = self._last_number(one)
        try:
            one.request_id = self.api.post(
                f"Live-migrating server {one.name}", f"/servers/{one.id}/action", {"os-migrateLive": body}, version=version
            )
        except compute.Refused as refusal:
            one.refusal, one.request_id = refusal.message, refusal.request_id
            return one
        # The answer does not name the migration, so it is the first one after the last that was there.
        record = None if known is None else self.migrations.following(one.id, known)
        if record is not None:
            one.followed = following.Followed(name=one.name, record=record, request_id=one.request_id)
        return one

    def _last_number(self, one: _Asked) -> int | None:
        """Give the number of the server's last migration, 0 for none; None when this caller may not know."""
        try:
            newest = self.migrations.newest_of(one.id)
        except compute.Refused as refusal:
            if refusal.code != 403:
                raise
            return None
        return newest.id if newest else 0

    def _row(self, one: _Asked, *, is_awaited: bool) -> tuple[Any, ...]:
        server = (one.id, one.name)
        if one.refusal:
            self._fail(f"{one.name}: refused: {one.refusal}")
            return base.answer_row(server, _REFUSED, None, one.request_id, one.refusal)
        if one.followed is None:
            # Recorded, but this caller may not see migrations.
            if is_awaited:
                self._fail(f"{one.name}: accepted, but its migration is not shown to this user, so that its end is not known.")
            return base.answer_row(server, "accepted", None, one.request_id, "")
        record = one.followed.record
        why = self.migrations.why(record, one.followed.events) if record.has_ended and not record.is_completed else ""
        if is_awaited and record.has_ended and not record.is_completed:
            self._fail(f"{one.name}: {record.status}: {why or 'the service gives no reason'}")
        return base.answer_row(server, record.status, record, one.request_id, why)

    def _fail(self, sentence: str) -> None:
        self.complain(sentence)
        # Something that failed outweighs something that has not ended.
        self.exit_status = base.FAILED


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to move a server."""
    parser.add_argument("--host", metavar="<host>", help="Destination; default: the service chooses")
    parser.add_argument(
        "--block-migration",
        choices=tuple(_BLOCK_MIGRATION),
        default="auto",
        help="Whether the disks travel too; default=auto: those that are not shared do",
    )
    parser.add_argument(
        "--timeout",
        metavar="<seconds>",
        type=_timeout,
        help="Longest time for the copy, from its start, 0 for no limit; default: as configured (Wherry 2.1000)",
    )
    parser.add_argument(
        "--on-timeout",
        choices=tuple(action.value for action in deadline.TimeoutAction),
        help="What is done when the time is over; default: as configured (Wherry 2.1000)",
    )


def request_body(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the body of os-migrateLive: with Wherry's own keys where they were given."""
    own = {"timeout_seconds": arguments.timeout, "on_timeout": arguments.on_timeout}
    asked = {"host": arguments.host, "block_migration": _BLOCK_MIGRATION[arguments.block_migration]}
    return asked | {key: value for key, value in own.items() if value is not None}


def _body(arguments: argparse.Namespace, api: compute.ComputeApi) -> tuple[dict[str, Any], compute.Version]:
    """Make the body and choose the version that it needs: Wherry's own only for Wherry's own keys."""
    body = request_body(arguments)
    if arguments.timeout is None and arguments.on_timeout is None:
        return body, api.nova
    if api.newest < compute.OWN:
        raise exceptions.CommandError(
            f"--timeout and --on-timeout need microversion {compute.text(compute.OWN)}, which is Wherry's; the newest here is "
            f"{compute.text(api.newest)}. Leave them out and use `openstack live migration abort` or `… force complete`."
        )
    return body, compute.OWN


def _timeout(written: str) -> int:
    if not written.isdigit():
        raise argparse.ArgumentTypeError(f"{written} is no whole number of seconds, 0 or more")
    return int(written)
