# SPDX-License-Identifier: Apache-2.0
"""How a process gets to its bus, made from [bus]: addresses, login, certificates, waits. Connects to nothing."""

from __future__ import annotations

import dataclasses
import ssl

from wherry import errors
from wherry.config import bus as config_bus
from wherry.rpc.transports.nats import keys


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a connection needs to know. Seconds throughout, and bytes."""

    servers: tuple[str, ...]
    user: str
    password: str = dataclasses.field(repr=False)
    #: Seed of an nkey, and a JWT with one as a .creds file has them; empty for another way in.
    nkey_seed: str = dataclasses.field(repr=False)
    credentials: str = dataclasses.field(repr=False)
    #: None: no server is expected to speak TLS.
    tls: ssl.SSLContext | None
    max_message_bytes: int
    connect_timeout_seconds: float
    reconnect_initial_seconds: float
    reconnect_max_seconds: float
    ping_interval_seconds: float
    max_outstanding_pings: int


def settings_of(section: config_bus.BusSection) -> Settings:
    """Read certificates and keys, and put all together.

    :raises ConfigInvalid: when a file cannot be used.
    """
    return Settings(
        servers=section.transport_url,
        user=section.user,
        password=section.password,
        nkey_seed=keys.read_seed(section.nkey_seed_file) if section.nkey_seed_file else "",
        credentials=keys.read_credentials(section.credentials_file) if section.credentials_file else "",
        tls=_tls(section),
        max_message_bytes=section.max_message_bytes,
        connect_timeout_seconds=section.connect_timeout_seconds,
        reconnect_initial_seconds=section.reconnect_initial_seconds,
        reconnect_max_seconds=section.reconnect_max_seconds,
        ping_interval_seconds=section.ping_interval_seconds,
        max_outstanding_pings=section.max_outstanding_pings,
    )


def _tls(section: config_bus.BusSection) -> ssl.SSLContext | None:
    is_asked_for = section.tls_ca_file or section.tls_certificate_file
    if not is_asked_for and not any(url.startswith("tls://") for url in section.transport_url):
        return None
    try:
        context = ssl.create_default_context(cafile=section.tls_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("tls_ca_file", section.tls_ca_file, error, "a file of certificates in PEM form") from error
    if section.tls_certificate_file is not None:
        try:
            # An encrypted key would have OpenSSL ask for its password on the terminal, and wait.
            context.load_cert_chain(section.tls_certificate_file, section.tls_key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            where = f"{section.tls_certificate_file} with {section.tls_key_file or 'its own key'}"
            wanted = "a certificate and its key in PEM form, the key without a password, both readable by this user"
            raise _unusable("tls_certificate_file", where, error, wanted) from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _unusable(option: str, what: str | None, error: Exception, wanted: str) -> errors.ConfigInvalid:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return errors.ConfigInvalid(where=f"[bus] {option}", problem=f"{what} cannot be used: {reason}", instead=f"Name {wanted}.")
