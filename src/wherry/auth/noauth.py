# SPDX-License-Identifier: Apache-2.0
"""noauth: everybody is believed, as in Nova's noauth2. For a loopback address or a trusted network only.

Checks no secret. Refuses to be made for an address that other machines reach, unless the configuration insists.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from wherry import clock as clocks
from wherry import config, errors
from wherry.auth import context, login
from wherry.config import api as api_section
from wherry.telemetry import logs

_log = logs.get_logger(__name__)
_ADMIN_USER = "admin"
_DEFAULT_ROLE = "member"
#: What ids and role names are made of: they are stored and compared, never shown as markup. The separators of a token are left out.
_NAME = re.compile(r"(?:(?![:,])[\x21-\x7e]){1,255}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Claim:
    """What somebody says of themselves."""

    user_id: str
    project_id: str
    #: As named, without the implied ones; in order, so that the same claim is the same token.
    roles: tuple[str, ...]

    @property
    def token(self) -> str:
        return f"{self.user_id}:{self.project_id}:{','.join(self.roles)}"


class NoAuth:
    """Believes what the token says of itself.

    `X-Auth-Token: USER:PROJECT` names a user and a project, as Nova's noauth2 has it; the user `admin` is an administrator, a user named
    as one of the roles has that role, anyone else is a member. `USER:PROJECT:ROLE,ROLE` names the roles too. Any other token, and none,
    is an administrator of the configured project.

    :raises ConfigInvalid: when [api] bind_host is not a loopback address and allow_unsafe_noauth_bind is not set
    """

    def __init__(self, section: config.ApiSection, clock: clocks.Clock) -> None:
        if not api_section.is_loopback(section.bind_host):
            if not section.allow_unsafe_noauth_bind:
                raise errors.ConfigInvalid(
                    where="[api] auth_strategy",
                    problem=f"noauth on bind_host = {section.bind_host} lets everybody who reaches that address move servers",
                    instead="Use auth_strategy = keystone, bind_host = 127.0.0.1, or say allow_unsafe_noauth_bind = true.",
                )
            _log.warning(
                "Everybody who reaches the API's address is believed to be an administrator: [api] allow_unsafe_noauth_bind is set",
                action="auth.unsafe",
                bind_host=section.bind_host,
            )
        self._project_id = section.noauth_project_id
        self.login: login.Login | None = login.Login(self.identify, clock)

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        claim = self._read(headers.get("x-auth-token", ""))
        held = context.with_implied(frozenset(claim.roles))
        return context.RequestContext(
            request_id=request_id, user_id=claim.user_id, project_id=claim.project_id, roles=held, is_admin="admin" in held
        )

    def identify(self, user: str, project: str) -> login.Identity:
        """Make the token of somebody who logs in as that user (`USER` or `USER:ROLE,ROLE`) for that project ("": the configured one).

        :raises Unauthenticated: for names that a token cannot hold
        """
        name, _, named = user.partition(":")
        claim = _claim(name, project or self._project_id, named)
        return login.Identity(
            token=claim.token,
            user_id=claim.user_id,
            project_id=claim.project_id,
            roles=tuple(sorted(context.with_implied(frozenset(claim.roles)))),
        )

    def challenge(self, base: str) -> str:
        return f'Keystone uri="{base}{login.PREFIX}"'

    async def close(self) -> None:
        return None

    def _read(self, token: str) -> _Claim:
        user_id, _, rest = token.strip().partition(":")
        project_id, _, named = rest.partition(":")
        if not user_id or not project_id:
            user_id, project_id, named = _ADMIN_USER, self._project_id, ""
        return _claim(user_id, project_id, named)


def _claim(user_id: str, project_id: str, named: str) -> _Claim:
    roles = [role.strip() for role in named.split(",") if role.strip()]
    if not roles:
        roles = [user_id if user_id in context.IMPLIED_ROLES or user_id == "reader" else _DEFAULT_ROLE]
    if not all(_NAME.fullmatch(name) for name in (user_id, project_id, *roles)):
        raise errors.Unauthenticated()
    return _Claim(user_id=user_id, project_id=project_id, roles=tuple(roles))
