# SPDX-License-Identifier: Apache-2.0
"""`openstack live migration check`: what would become of a live migration, host by host. Moves nothing."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from osc_lib import exceptions
from osc_lib.command import command

from wherry.cli import base, compute, create

_COLUMNS = ("Host", "Allowed", "Why Not", "Timeout Actions", "Disks Travel", "Seconds", "Pause (ms)", "Rests On", "Warnings")
#: What the service says of a host that it did not ask.
_ALLOWED = {True: "yes", False: "no", None: "not asked"}


class CheckLiveMigration(base.LiveMigrationCommand, command.Lister):
    """Ask what would become of a live migration: each host, allowed or why not, and a range for time and pause.

    Nothing is moved. Exit status 1 when no host would be taken, with the reason. Needs Wherry's microversion 2.1000.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("server", metavar="<server>", help="Server (name or ID)")
        create.add_request_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        server_id, server_name = self.api.find_server(parsed_args.server)
        if self.api.newest < compute.OWN:
            raise exceptions.CommandError(
                f"The question needs microversion {compute.text(compute.OWN)}, which is Wherry's; the newest here is "
                f"{compute.text(self.api.newest)}."
            )
        doing = f"Checking whether server {server_name} can be live-migrated"
        body = {"os-checkMigrateLive": create.request_body(parsed_args)}
        found = self.api.ask(doing, f"/servers/{server_id}/action", body, version=compute.OWN)["live_migration_check"]
        if not found["allowed"]:
            self.exit_status = base.FAILED
            why = _told(found["blockers"]) or "no host would be taken; the table says why."
            self.complain(f"{server_name}: {why}")
        return _COLUMNS, [_row(one) for one in found["hosts"]]


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    estimate = one["estimate"] or {}
    return (
        one["host"],
        _ALLOWED[one["allowed"]],
        _told(one["blockers"]),
        ", ".join(one["timeout_actions"]),
        one["block_migration"],
        _range(estimate, "seconds"),
        _range(estimate, "pause_ms"),
        estimate.get("basis"),
        " ".join(one["warnings"]),
    )


def _told(blockers: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(" ".join(part for part in (one["reason"], one["remedy"]) if part) for one in blockers)


def _range(estimate: Mapping[str, Any], name: str) -> str | None:
    low, high = estimate.get(f"{name}_low"), estimate.get(f"{name}_high")
    if low is None:
        return None
    return f"{low} to {high}" if high is not None else f"{low} or more"
