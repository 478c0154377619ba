# SPDX-License-Identifier: Apache-2.0
"""keystone: callers are who Keystone says they are, by the token that they send. Issues no tokens and decides no policy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wherry import clock as clocks
from wherry import config, errors
from wherry.auth import context, identity_service, login, validations
from wherry.telemetry import metrics as wherry_metrics

#: What a token is made of and how long it can be; Keystone is not asked about anything else.
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_ADMIN_ROLE = "admin"


class Keystone:
    """Believes Keystone.

    `X-Auth-Token` must be a valid token that is scoped to a project. `X-Service-Token` may be added by a service that acts for the user:
    it must be valid and carry one of [keystone] service_token_roles, and then the user's token may have expired meanwhile, as long as
    Keystone's allow_expired_window lets it. A service token that is not good spoils the request.
    """

    def __init__(self, section: config.KeystoneSection, clock: clocks.Clock, metrics: wherry_metrics.Metrics | None = None) -> None:
        self.login: login.Login | None = None
        self._clock = clock
        self._validations = validations.Validations(section, identity_service.IdentityService(section), clock, metrics)
        self._service_roles = frozenset(role.lower() for role in section.service_token_roles)
        self._challenge = f'Keystone uri="{section.www_authenticate_uri or section.auth_url}"'

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        user_token = headers.get("x-auth-token", "").strip()
        if not user_token:
            raise errors.Unauthenticated()
        service_token = headers.get("x-service-token", "").strip()
        if service_token:
            service = await self._facts(service_token)
            if not self._service_roles & _folded(service.roles):
                raise errors.Unauthenticated()
        user = await self._facts(user_token, may_be_expired=bool(service_token))
        if user.scope is not identity_service.Scope.PROJECT:
            raise errors.ScopeRefused(scope=user.scope.value)
        return context.RequestContext(
            request_id=request_id,
            user_id=user.user_id,
            project_id=user.project_id,
            roles=user.roles,
            is_admin=_ADMIN_ROLE in _folded(user.roles),
            token=user_token,
        )

    def challenge(self, base: str) -> str:
        del base
        return self._challenge

    async def close(self) -> None:
        await self._validations.close()

    async def _facts(self, token: str, *, may_be_expired: bool = False) -> identity_service.TokenFacts:
        if not _TOKEN.fullmatch(token):
            raise errors.Unauthenticated()
        facts = await self._validations.of(token, may_be_expired=may_be_expired)
        if facts is None or (not may_be_expired and facts.expires_at <= self._clock.now()):
            raise errors.Unauthenticated()
        return facts


def _folded(roles: frozenset[str]) -> set[str]:
    """Give role names as policies compare them: case means nothing to Keystone and oslo.policy."""
    return {role.lower() for role in roles}
