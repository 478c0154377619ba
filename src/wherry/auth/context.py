# SPDX-License-Identifier: Apache-2.0
"""Who asks, and under which request id.

Holds facts only: whether they suffice for something is asked of the policies.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RequestContext:
    """The caller of one request."""

    #: "req-" and a uuid; also the key of the instance action that the request leaves behind.
    request_id: str
    user_id: str
    project_id: str
    #: Role names, those that a role implies included.
    roles: frozenset[str]
    #: Whether locks do not hold this caller and lists may leave their project.
    is_admin: bool = False
    #: The token itself, to ask another service as the caller; empty where there is no such service.
    token: str = dataclasses.field(default="", repr=False)


#: Roles that holding a role brings along, as Keystone's bootstrap sets them up.
IMPLIED_ROLES: dict[str, tuple[str, ...]] = {
    "admin": ("admin", "manager", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
}


def with_implied(roles: frozenset[str]) -> frozenset[str]:
    """Add the roles that the given ones imply."""
    return roles.union(*(IMPLIED_ROLES.get(role, ()) for role in roles))
