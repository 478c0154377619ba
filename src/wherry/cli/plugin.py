# SPDX-License-Identifier: Apache-2.0
"""What openstackclient asks of a plugin: its name, its versions, its options, its client. The commands are entry points of the package."""

from __future__ import annotations

import argparse
from typing import Any

from osc_lib import utils

from wherry.cli import compute

API_NAME = "live_migration"
API_VERSION_OPTION = "os_live_migration_api_version"
#: Of these commands, not of the service: they negotiate its microversion themselves.
API_VERSIONS = ("1",)
DEFAULT_API_VERSION = "1"


def make_client(instance: Any) -> compute.ComputeApi:
    """Make the client that openstackclient offers to others as `client_manager.live_migration`."""
    return compute.ComputeApi(instance.sdk_connection.compute)


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the one option that openstackclient looks for."""
    parser.add_argument(
        "--os-live-migration-api-version",
        metavar="<live-migration-api-version>",
        default=utils.env("OS_LIVE_MIGRATION_API_VERSION", default=DEFAULT_API_VERSION),
        help="Version of the live migration commands, default=1 (Env: OS_LIVE_MIGRATION_API_VERSION)",
    )
    return parser
