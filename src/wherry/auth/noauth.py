# SPDX-License-Identifier: Apache-2.0
"""noauth: everybody is believed, as in Nova's noauth2. For a loopback address or a trusted network only.

Checks no secret. Refuses to be made for an address that other machines reach, unless the configuration insists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wherry import config, errors
from wherry.auth import context
from wherry.config import api as api_section

_ADMIN_USER = "admin"
#: What ids and role names are made of: they are stored and compared, never shown as markup.
_NAME = re.compile(r"[\x21-\x7e]{1,255}")


class NoAuth:
    """Believes what the token says of itself.

    `X-Auth-Token: USER:PROJECT` names a user and a project, as Nova's noauth2 has it; the user `admin` is an administrator, anyone else
    is a member. `USER:PROJECT:ROLE,ROLE` names the roles too. Any other token, and none, is an administrator of the configured project.

    :raises ConfigInvalid: when [api] bind_host is not a loopback address and allow_unsafe_noauth_bind is not set
    """

    def __init__(self, section: config.ApiSection) -> None:
        if not section.allow_unsafe_noauth_bind and not api_section.is_loopback(section.bind_host):
            raise errors.ConfigInvalid(
                where="[api] auth_strategy",
                problem=f"noauth on bind_host = {section.bind_host} lets everybody who reaches that address move servers",
                instead="Use auth_strategy = keystone, bind_host = 127.0.0.1, or say allow_unsafe_noauth_bind = true.",
            )
        self._project_id = section.noauth_project_id

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        user_id, _, rest = headers.get("x-auth-token", "").partition(":")
        project_id, _, named = rest.partition(":")
        if not user_id or not project_id:
            user_id, project_id, named = _ADMIN_USER, self._project_id, ""
        if not _NAME.fullmatch(user_id) or not _NAME.fullmatch(project_id):
            raise errors.Unauthenticated()
        roles = {role.strip() for role in named.split(",") if role.strip()}
        if not roles:
            roles = {"admin"} if user_id == _ADMIN_USER else {"member"}
        held = context.with_implied(frozenset(roles))
        return context.RequestContext(request_id=request_id, user_id=user_id, project_id=project_id, roles=held, is_admin="admin" in held)

    async def close(self) -> None:
        return None
