# SPDX-License-Identifier: Apache-2.0
"""[keystone]: the identity service that knows the callers, how it is asked, and how long its answers are kept.

Declares options only; nothing here acts on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from wherry.config import option as opt

_URL = opt.matching(r"(https?://[^\s/]+.*)?", "http://HOST:PORT/v3 or https://HOST:PORT/v3")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeystoneSection:
    """Options of [keystone]."""

    SECTION: ClassVar[str] = "keystone"
    ABOUT: ClassVar[str] = "The identity service, used with [api] auth_strategy = keystone."

    auth_url: str = opt.option(
        "",
        "Where Wherry itself logs in, and finds in the catalog where tokens are validated.",
        constraint=_URL,
    )
    www_authenticate_uri: str = opt.option(
        "",
        "Address of the identity service as clients reach it; a 401 names it. Empty: auth_url.",
        constraint=_URL,
    )
    username: str = opt.option("", "User as whom Wherry validates tokens; it needs the role service, in any project.")
    password: str = opt.option("", "Password of that user. Write $$ for a dollar sign.", secret=True)
    user_domain_name: str = opt.option("Default", "Domain of that user.")
    project_name: str = opt.option("service", "Project in which that user has the role.")
    project_domain_name: str = opt.option("Default", "Domain of that project.")
    application_credential_id: str = opt.option("", "Application credential to log in with, in place of username and password.")
    application_credential_secret: str = opt.option("", "Secret of that application credential.", secret=True)
    interface: str = opt.option(
        "internal",
        "Which endpoint of the identity service in the catalog tokens are validated at.",
        constraint=opt.one_of("internal", "public", "admin"),
    )
    region_name: str | None = opt.option(None, "Region of that endpoint. Nothing: the first in the catalog.")
    cafile: str | None = opt.option(
        None, "File with the certificates that the identity service's is checked against. Nothing: the system's."
    )
    certfile: str | None = opt.option(None, "File with the client certificate that the identity service asks for.")
    keyfile: str | None = opt.option(None, "File with the key of that certificate. Nothing: it is in certfile.")
    insecure: bool = opt.option(False, "Whether the identity service's certificate is not checked. For trying only.")
    service_token_roles: tuple[str, ...] = opt.option(
        ("service",),
        "Roles of which a token in X-Service-Token must carry one. With such a token, a user's token that has expired is accepted, as "
        "long as the identity service's allow_expired_window lets it.",
    )
    token_cache_seconds: float = opt.option(
        60.0,
        "How long a validated token is believed without asking again. A token that is revoked may work for so long. 0 asks each time.",
        constraint=opt.at_least(0, 3600),
        unit="seconds",
    )
    refused_token_cache_seconds: float = opt.option(
        5.0,
        "How long a token that was refused is refused again without asking.",
        constraint=opt.at_least(0, 3600),
        unit="seconds",
    )
    token_cache_size: int = opt.option(
        10_000,
        "Most tokens whose validation is kept; beyond that the one used longest ago is forgotten.",
        constraint=opt.at_least(1),
        unit="tokens",
    )
    validation_threads: int = opt.option(
        8,
        "Most tokens that are validated at the same time.",
        constraint=opt.at_least(1, 256),
        unit="threads",
    )
    max_waiting_validations: int = opt.option(
        1000,
        "Most tokens that wait for one of those threads; a request with a further one is answered with 503 at once.",
        constraint=opt.at_least(1),
        unit="tokens",
    )
    validation_timeout_seconds: float = opt.option(
        15.0,
        "Longest wait for the validation of a token, all tries together; then the request is answered with 503.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    request_timeout_seconds: float = opt.option(
        5.0,
        "Longest wait for a connection to the identity service, and for each part of its answer.",
        constraint=opt.at_least(0.1),
        unit="seconds",
    )
    connect_retries: int = opt.option(
        1,
        "How often a request to the identity service is sent again when its connection failed, as a kept one does when the service was "
        "restarted.",
        constraint=opt.at_least(0, 10),
        unit="tries",
    )
    connect_retry_delay_seconds: float = opt.option(
        0.1,
        "Pause before it is sent again.",
        constraint=opt.at_least(0.001),
        unit="seconds",
    )
    outage_pause_seconds: float = opt.option(
        1.0,
        "How long, after the identity service could not be asked, requests are answered with 503 without trying.",
        constraint=opt.at_least(0),
        unit="seconds",
    )

    @property
    def has_application_credential(self) -> bool:
        """Say whether Wherry logs in with an application credential."""
        return bool(self.application_credential_id)

    def missing(self) -> tuple[str, ...]:
        """Name the options without which no token can be validated."""
        if self.has_application_credential:
            needed = ("auth_url", "application_credential_id", "application_credential_secret")
        else:
            needed = ("auth_url", "username", "password")
        return tuple(name for name in needed if not getattr(self, name))

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        if self.has_application_credential and self.username:
            yield "[keystone] username and application_credential_id are two ways to log in; write one of them"
        if not self.has_application_credential and self.application_credential_secret:
            yield "[keystone] application_credential_secret is there without application_credential_id; write both or neither"
        if self.keyfile and not self.certfile:
            yield "[keystone] keyfile is there without certfile; name the certificate that the key belongs to"
        if self.insecure and self.cafile:
            yield "[keystone] insecure = true does not check what cafile is for; write one of them"
        if not self.service_token_roles:
            yield "[keystone] service_token_roles is empty, so that no service token could be valid; write service_token_roles = service"
