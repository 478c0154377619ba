# SPDX-License-Identifier: Apache-2.0
"""[bus]: how the processes reach one another.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import api
from wherry.config import option as opt

_MEMORY = "memory://"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BusSection:
    """Options of [bus]."""

    SECTION: ClassVar[str] = "bus"
    ABOUT: ClassVar[str] = "Messages between api, conductor and agents."

    transport_url: tuple[str, ...] = opt.option(
        (),
        "Where the bus is: nats://HOST:PORT or tls://HOST:PORT, every server of a cluster, separated by commas. Empty or memory://: inside "
        "the process, for wherry all-in-one only. Without user and password, which have options of their own.",
        secret=True,
    )
    user: str = opt.option("", "User as whom this process logs in at the bus; wherry bus-permissions makes the list of them.")
    password: str = opt.option("", "Password of that user. Write $$ for a dollar sign.", secret=True)
    nkey_seed_file: str | None = opt.option(
        None, "File with the seed of the key (nkey) that this process logs in with, in place of user and password; wherry bus-key makes it."
    )
    credentials_file: str | None = opt.option(
        None, "File with a JWT and its key, as nsc writes it (.creds), to log in with where accounts are an operator's."
    )
    tls_ca_file: str | None = opt.option(
        None, "File with the certificates that the bus's is checked against. Nothing: the system's, where transport_url says tls://."
    )
    tls_certificate_file: str | None = opt.option(None, "File with the client certificate that the bus asks for.")
    tls_key_file: str | None = opt.option(None, "File with the key of that certificate. Nothing: it is in tls_certificate_file.")
    connect_timeout_seconds: float = opt.option(
        2.0,
        "Longest wait for a server of the bus to accept this process, and at start for any of them to; after that it goes on trying.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    reconnect_initial_seconds: float = opt.option(
        0.1,
        "Pause after every server of the bus was tried in vain; each further one is twice as long. There is no last try.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    reconnect_max_seconds: float = opt.option(
        5.0,
        "Longest such pause.",
        constraint=opt.at_least(0.01),
        unit="seconds",
    )
    ping_interval_seconds: float = opt.option(
        5.0,
        "How often the bus is asked for a sign of life, so that a cut link is noticed where nothing says so.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    max_outstanding_pings: int = opt.option(
        2,
        "Signs of life that may be missing before the connection counts as lost and another is made.",
        constraint=opt.at_least(1),
        unit="pings",
    )
    rpc_response_timeout_seconds: float = opt.option(
        60.0,
        "Longest wait for the answer to an ordinary call.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    max_message_bytes: int = opt.option(
        900_000,
        "Largest message that is sent; lists are split below it. NATS refuses 1 MiB by default.",
        constraint=opt.at_least(65536),
        unit="bytes",
    )

    max_concurrent_messages: int = opt.option(
        20_000,
        "Messages that a process works on at the same time, blocking requests among them; further ones are refused at once.",
        constraint=opt.at_least(10),
        unit="messages",
    )
    max_concurrent_messages_per_agent: int = opt.option(
        2_000,
        "Messages of one host's agent that a conductor works on at the same time; further ones are refused at once, so that one host that "
        "floods it keeps no other from being heard.",
        constraint=opt.at_least(10),
        unit="messages",
    )
    drain_timeout_seconds: float = opt.option(
        10.0,
        "Longest wait at shutdown for messages that are being worked on.",
        constraint=opt.at_least(0),
        unit="seconds",
    )

    @property
    def is_in_memory(self) -> bool:
        """Whether messages stay inside one process."""
        return not self.transport_url or self.transport_url == (_MEMORY,)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether only processes of this machine can reach it: every address is a loopback one."""
        return all(api.is_loopback(urllib.parse.urlsplit(url).hostname or "") for url in self.transport_url)

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        for url in () if self.is_in_memory else self.transport_url:
            wrong = _wrong_with(url)
            if wrong:
                yield f"[bus] transport_url: {wrong}"
        if bool(self.user) != bool(self.password):
            yield "[bus] user and password belong together; set both or none"
        ways = {"user": self.user, "nkey_seed_file": self.nkey_seed_file, "credentials_file": self.credentials_file}
        chosen = [name for name, value in ways.items() if value]
        if len(chosen) > 1:
            yield f"[bus] {' and '.join(chosen)} are different ways to log in; set one of them"
        if self.tls_key_file and not self.tls_certificate_file:
            yield "[bus] tls_key_file is the key of a certificate; set tls_certificate_file too"
        if self.reconnect_max_seconds < self.reconnect_initial_seconds:
            yield "[bus] reconnect_max_seconds is shorter than reconnect_initial_seconds; give the longest pause the larger number"


def _wrong_with(url: str) -> str:
    """Say what is wrong with one address, without repeating it: it may hold a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return "an address cannot be read; write nats://HOST:PORT"
    if url == _MEMORY:
        return "memory:// stands alone; leave it out, or the others"
    if parts.scheme not in ("nats", "tls") or not parts.hostname or port == 0:
        return "every address is nats://HOST:PORT or tls://HOST:PORT"
    if "@" in parts.netloc:
        return "an address names a user; put user and password into the options of these names"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return "an address goes on after HOST:PORT; end it there"
    return ""
