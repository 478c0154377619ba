# SPDX-License-Identifier: Apache-2.0
"""Asks Keystone what a token is worth. Keeps no answers.

Everything here blocks, so it is called in threads only; one object may be used by several at once.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum

from keystoneauth1 import access, adapter, exceptions

from wherry import config
from wherry.auth import identity_session


class Scope(enum.Enum):
    """What a token is for; the value completes "scoped to …"."""

    PROJECT = "a project"
    DOMAIN = "a domain"
    SYSTEM = "the system"
    NOTHING = "nothing"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TokenFacts:
    """What Keystone says of a token."""

    user_id: str
    scope: Scope
    #: "" unless it is scoped to a project.
    project_id: str
    #: As Keystone names them, implied ones included.
    roles: frozenset[str]
    expires_at: datetime.datetime


class Unanswered(Exception):
    """Keystone did not say whether the token is good; the text says why, for operators."""


class IdentityService:
    """One Keystone, as the configured user sees it."""

    def __init__(self, section: config.KeystoneSection) -> None:
        self._session = identity_session.open_session(section, section.request_timeout_seconds)
        self._keystone = adapter.Adapter(
            self._session,
            service_type="identity",
            interface=section.interface,
            region_name=section.region_name,
            version="3",
            connect_retry_delay=section.connect_retry_delay_seconds,
        )
        self._where = f"interface {section.interface}, region {section.region_name or 'any'}"

    def validate(self, token: str, *, may_be_expired: bool) -> TokenFacts | None:
        """Give what Keystone says of a token, None when it does not take it.

        A token that its application credential's access rules confine is not taken: they are not enforced here, and Keystone refuses
        to show such a token to who does not say that it enforces them.

        :raises Unanswered: when Keystone cannot be reached, fails, or does not take our own credentials
        """
        path = "/auth/tokens?nocatalog" + ("&allow_expired=1" if may_be_expired else "")
        try:
            answer = self._keystone.get(path, headers={"X-Subject-Token": token})
            return _read(access.create(resp=answer, auth_token=token))
        except exceptions.NotFound as error:
            if _is_keystones(error):
                return None
            raise Unanswered(f"{error.url} is not there; is [keystone] auth_url right?") from error
        except exceptions.Unauthorized as error:
            raise Unanswered(f"it does not take our own credentials, see [keystone] username and password: {error}") from error
        except exceptions.Forbidden as error:
            raise Unanswered(f"our user may not validate tokens; give it the role service: {error}") from error
        except exceptions.EndpointNotFound as error:
            raise Unanswered(f"its catalog has no endpoint of the identity service with {self._where}") from error
        except exceptions.ClientException as error:
            raise Unanswered(str(error) or type(error).__name__) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unanswered(f"its answer cannot be read: {error!r}") from error

    def close(self) -> None:
        """Let go of kept connections."""
        self._session.session.close()


def _is_keystones(error: exceptions.NotFound) -> bool:
    """Say whether Keystone itself said so: a proxy's 404 says nothing about a token."""
    try:
        return error.response is not None and "error" in error.response.json()
    except ValueError:
        return False


def _read(info: access.AccessInfo) -> TokenFacts:
    expires_at = info.expires
    if not isinstance(info, access.AccessInfoV3) or not info.user_id or expires_at is None:
        raise ValueError("no token of version 3")
    if info.system_scoped:
        scope = Scope.SYSTEM
    elif info.domain_scoped:
        scope = Scope.DOMAIN
    else:
        scope = Scope.PROJECT if info.project_id else Scope.NOTHING
    return TokenFacts(
        user_id=info.user_id,
        scope=scope,
        project_id=info.project_id or "" if scope is Scope.PROJECT else "",
        roles=frozenset(info.role_names or ()),
        expires_at=expires_at,
    )
