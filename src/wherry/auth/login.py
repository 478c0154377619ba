# SPDX-License-Identifier: Apache-2.0
"""The identity routes that clients need where there is no Keystone: a version document, tokens with a catalog, and looking up names.

Checks no password, keeps nothing, and knows no web framework. Who somebody is, the strategy says.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping
from typing import Any

from wherry import clock as clocks
from wherry import errors

#: Where the routes stand.
PREFIX = "/v3"
#: Where the image service stands: openstackclient before 6.1 lists no servers when the catalog names none.
IMAGE_PREFIX = "/image"
REGION = "RegionOne"
_DOMAIN = {"id": "default", "name": "Default"}
#: A token says who it is, so it never ends; clients want a time at which to ask for the next.
_TOKEN_LIFE = datetime.timedelta(days=1)
_UPDATED = "2024-01-01T00:00:00Z"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Somebody who has logged in."""

    token: str
    user_id: str
    project_id: str
    #: Implied ones included.
    roles: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One request to these routes."""

    method: str
    #: Of the path, the prefix included: ("v3", "auth", "tokens").
    segments: tuple[str, ...]
    query: Mapping[str, str]
    #: Names in lower case.
    headers: Mapping[str, str]
    #: The JSON body; None for none.
    content: object
    #: "http://host:port" as the client wrote it, so that the catalog leads back to where it came in.
    base: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    #: None: no body.
    content: object = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class _Refused(Exception):
    """An answer that is an error, in Keystone's form."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status=status, content={"error": {"code": status, "title": title, "message": message}})


class Login:
    """Answers the routes.

    :param identify: makes an identity of a user's name and a project's ("" for none named)
    """

    def __init__(self, identify: Callable[[str, str], Identity], clock: clocks.Clock) -> None:
        self._identify = identify
        self._clock = clock

    def serves(self, path: str) -> bool:
        """Say whether a path belongs to these routes."""
        return path == PREFIX or path.startswith(f"{PREFIX}/")

    def answer(self, question: Question) -> Reply:
        """Answer; what is wrong with the question is an answer too."""
        try:
            return self._identity(question)
        except _Refused as refusal:
            return refusal.reply

    def _identity(self, question: Question) -> Reply:
        match question.method, question.segments[1:]:
            case "GET" | "HEAD", ():
                return Reply(status=200, content={"version": _version(question.base)})
            case "POST", ("auth", "tokens"):
                user, project, method = _claims(question.content)
                return self._token(question, self._known(user, project), method, status=201)
            case "GET" | "HEAD", ("auth", "tokens"):
                return self._token(question, self._of_token(_subject(question)), "token", status=200)
            case "DELETE", ("auth", "tokens"):
                # There is nothing to revoke; a client that logs out is content.
                _subject(question)
                return Reply(status=204)
            case "GET", ("projects" | "users" | "domains" as kind, *rest) if len(rest) < 2:
                return _named(kind, rest[0] if rest else None, question)
        raise _Refused(
            404,
            "Not Found",
            f"noauth does not answer {question.method} /{'/'.join(question.segments)}. "
            "It answers GET /v3, POST /v3/auth/tokens, and GET of a project, user or domain; use auth_strategy = keystone for more.",
        )

    def _known(self, user: str, project: str) -> Identity:
        try:
            return self._identify(user, project)
        except errors.Unauthenticated:
            raise _bad(
                "a user's name is USER or USER:ROLE,ROLE; users, roles and projects are 1 to 255 printable ASCII characters "
                "without blanks, colons and commas"
            ) from None

    def _of_token(self, token: str) -> Identity:
        user, _, rest = token.partition(":")
        project, _, roles = rest.partition(":")
        return self._known(f"{user}:{roles}", project)

    def _token(self, question: Question, identity: Identity, method: str, *, status: int) -> Reply:
        now = self._clock.now()
        content = {
            "methods": [method],
            "user": {"id": identity.user_id, "name": identity.user_id, "domain": _DOMAIN, "password_expires_at": None},
            "project": {"id": identity.project_id, "name": identity.project_id, "domain": _DOMAIN},
            "is_domain": False,
            "roles": [{"id": role, "name": role} for role in identity.roles],
            "catalog": catalog(question.base),
            "audit_ids": [identity.user_id],
            "issued_at": _stamp(now),
            "expires_at": _stamp(now + _TOKEN_LIFE),
        }
        return Reply(status=status, content={"token": content}, headers={"X-Subject-Token": identity.token, "Vary": "X-Auth-Token"})


def catalog(base: str) -> list[dict[str, Any]]:
    """Give the services that a client finds: identity, compute and images."""
    services = (("identity", "keystone", PREFIX), ("compute", "nova", "/v2.1"), ("image", "glance", IMAGE_PREFIX))
    return [
        {
            "id": kind,
            "type": kind,
            "name": name,
            "endpoints": [
                {"id": f"{kind}-{interface}", "interface": interface, "region": REGION, "region_id": REGION, "url": f"{base}{prefix}"}
                for interface in ("public", "internal", "admin")
            ],
        }
        for kind, name, prefix in services
    ]


def _version(base: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{base}{PREFIX}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def _named(kind: str, name: str | None, question: Question) -> Reply:
    """Answer a look-up with what was asked for: under noauth every name exists, and is its own id."""
    wanted = name or question.query.get("name") or ""
    if kind == "domains":
        found = [{**_DOMAIN, "enabled": True}] if wanted.lower() in ("", "default") else []
    else:
        # openstackclient 6.0 takes for granted that a project has links.
        links = {"self": f"{question.base}{PREFIX}/{kind}/{wanted}"}
        found = [{"id": wanted, "name": wanted, "domain_id": _DOMAIN["id"], "enabled": True, "links": links}] if wanted else []
    if name is None:
        pages = {"self": f"{question.base}{PREFIX}/{kind}", "next": None, "previous": None}
        return Reply(status=200, content={kind: found, "links": pages})
    if not found:
        raise _Refused(404, "Not Found", f"Could not find {kind[:-1]}: {name}. Under noauth there is only the domain default.")
    return Reply(status=200, content={kind[:-1]: found[0]})


def _subject(question: Question) -> str:
    subject = question.headers.get("x-subject-token", "").strip()
    if subject.count(":") < 1:
        raise _Refused(404, "Not Found", "Send the token to look at in X-Subject-Token: USER:PROJECT:ROLE,ROLE.")
    return subject


def _claims(content: object) -> tuple[str, str, str]:
    """Read user, project ("" for none) and method from a request for a token."""
    auth = _part(_part(content, ""), "auth")
    identity = _part(auth, "identity")
    methods = identity.get("methods")
    project = _project(auth.get("scope"))
    for method in methods if isinstance(methods, list) else ():
        if method == "password":
            return _name(_part(_part(identity, "password"), "user"), "auth.identity.password.user"), project, "password"
        if method == "application_credential":
            credential = _part(identity, "application_credential")
            return _name(credential, "auth.identity.application_credential"), project, "application_credential"
        if method == "token":
            subject = _name(_part(identity, "token"), "auth.identity.token")
            user, _, rest = subject.partition(":")
            of_token, _, roles = rest.partition(":")
            return f"{user}:{roles}", project or of_token, "token"
    raise _bad("auth.identity.methods must name one of password, token, application_credential")


def _project(scope: object) -> str:
    if scope is None or scope == "unscoped":
        return ""
    if isinstance(scope, dict) and isinstance(scope.get("project"), dict):
        return _name(scope["project"], "auth.scope.project")
    raise _bad("noauth knows the scope project only; send a project's name or id, or no scope")


def _name(part: Mapping[str, Any], where: str) -> str:
    name = part.get("id") or part.get("name")
    if not isinstance(name, str):
        raise _bad(f"{where} needs an id or a name")
    return name


def _part(content: object, name: str) -> dict[str, Any]:
    found = content if not name else content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise _bad(f"{name or 'the body'} must be an object, as in Keystone's POST /v3/auth/tokens")
    return found


def _bad(message: str) -> _Refused:
    return _Refused(400, "Bad Request", f"{message[0].upper()}{message[1:]}.")


def _stamp(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
