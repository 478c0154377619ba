# SPDX-License-Identifier: Apache-2.0
"""[api]: where the API listens, whom it trusts and how long it lets a client wait.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import option as opt


def is_loopback(host: str) -> bool:
    """Say whether an address to listen on is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ApiSection:
    """Options of [api]."""

    SECTION: ClassVar[str] = "api"
    ABOUT: ClassVar[str] = "The Compute API over HTTP."

    bind_host: str = opt.option(
        "127.0.0.1",
        "Address to listen on.",
        constraint=opt.matching(r".+", "an address or host name of this machine"),
    )
    bind_port: int = opt.option(
        8774,
        "TCP port to listen on. 0 lets the system choose one, which is then logged.",
        constraint=opt.at_least(0, 65535),
    )
    max_limit: int = opt.option(
        1000,
        "Most items a list answers with at once; a larger limit in a request is cut to this.",
        constraint=opt.at_least(1),
        unit="items",
    )
    max_server_metadata_items: int = opt.option(
        128,
        "Most items of metadata that a server may have; more are answered with 403.",
        constraint=opt.at_least(0),
        unit="items",
    )
    max_request_body_bytes: int = opt.option(
        114688,
        "Largest request body that is read; a larger one is answered with 413.",
        constraint=opt.at_least(1024),
        unit="bytes",
    )
    blocking_request_timeout_seconds: float = opt.option(
        120.0,
        "How long a live migration request below microversion 2.34 may wait for the outcome of "
        "the checks. After that it is answered with an error that names the request id; the "
        "migration goes on.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    blocking_poll_interval_seconds: float = opt.option(
        0.5,
        "How often the database is asked about the migrations that waiting clients wait for, in case a message was lost.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    auth_strategy: str = opt.option(
        "noauth",
        "How callers are known. keystone asks the identity service of [keystone]. noauth believes everybody whatever they say, checks no "
        "password, and is for a loopback address or a trusted network only.",
        constraint=opt.one_of("noauth", "keystone"),
    )
    allow_unsafe_noauth_bind: bool = opt.option(
        False,
        "Whether noauth may listen on an address that other machines can reach.",
    )
    noauth_project_id: str = opt.option(
        "admin",
        "Project that callers belong to under noauth when they name none.",
        constraint=opt.matching(r"[a-zA-Z0-9._-]{1,255}", "a project id"),
    )
    shutdown_grace_seconds: float = opt.option(
        10.0,
        "How long requests in progress may go on after a request to stop.",
        constraint=opt.at_least(0),
        unit="seconds",
    )

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        is_open = self.auth_strategy == "noauth" and not is_loopback(self.bind_host)
        if is_open and not self.allow_unsafe_noauth_bind:
            yield (
                f"[api] auth_strategy = noauth on bind_host = {self.bind_host} lets everybody who "
                "reaches that address move servers; use auth_strategy = keystone, bind_host = "
                "127.0.0.1, or say allow_unsafe_noauth_bind = true"
            )
