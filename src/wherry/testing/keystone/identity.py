# SPDX-License-Identifier: Apache-2.0
"""A Keystone with projects, and somebody for each thing that one can be.

Must not know who asks Wherry what: tests and suites take the people they need.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from wherry.testing.keystone import process

#: User -> (role, project), as whom tests ask; "" for none. Also who has no role at all.
PEOPLE: Mapping[str, tuple[str, str]] = {
    "manager": ("manager", "home"),
    "member": ("member", "home"),
    "reader": ("reader", "home"),
    "frank": ("manager", "foreign"),
    "nobody": ("", ""),
    # As whom Wherry validates tokens: the role service is all it has.
    "wherry": ("service", "service"),
    # A service that acts for users, with the role that says so.
    "mover": ("service", "service"),
}


class Keystone:
    """Keystone with projects, and a user for each thing that somebody can be.

    :param people: user -> (role, project), each made when it starts; "" for none.
    :param threads: how many requests it works on at a time; more than one where no two log in at once.
    """

    def __init__(self, directory: pathlib.Path, people: Mapping[str, tuple[str, str]] = PEOPLE, threads: int = 8) -> None:
        self.process = process.Process(directory, threads)
        self.projects: dict[str, str] = {}
        self.people = people
        self._users: dict[str, str] = {}
        self._roles: dict[str, str] = {}
        self.admin = ""

    @property
    def url(self) -> str:
        """Give its address."""
        return self.process.url

    def start(self) -> None:
        """Bootstrap it, start it and make everybody known."""
        self.process.bootstrap()
        self.process.launch()
        self.process.wait()
        self.admin = self.token("admin", "admin")
        self._users["admin"] = self.ask("GET", "/users?name=admin")["users"][0]["id"]
        self._roles = {role["name"]: role["id"] for role in self.ask("GET", "/roles")["roles"]}
        for name in sorted({project for _, project in self.people.values() if project}):
            self.projects[name] = self.ask("POST", "/projects", {"project": {"name": name, "domain_id": "default"}})["project"]["id"]
        for name, (role, project) in self.people.items():
            user = {"name": name, "password": process.PASSWORD, "domain_id": "default"}
            self._users[name] = self.ask("POST", "/users", {"user": user})["user"]["id"]
            if role:
                self.assign(name, role, f"projects/{self.projects[project]}")

    def close(self) -> None:
        """End all processes."""
        self.process.close()

    def ask(self, method: str, path: str, content: Any = None, **headers: str) -> Any:
        """Do something as the administrator."""
        sent = {"X-Auth-Token": self.admin, **headers}
        answer = self.process.http.request(method, f"{self.url}{path}", json=content, headers=sent)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def assign(self, user: str, role: str, where: str) -> None:
        """Give a user a role on "projects/ID" or "domains/ID"."""
        self.ask("PUT", f"/{where}/users/{self._users[user]}/roles/{self._roles[role]}")

    def token(self, user: str, project: str) -> str:
        """Log somebody in to a project."""
        return self.scoped(user, {"project": {"name": project, "domain": {"id": "default"}}})

    def scoped(self, user: str, scope: Any) -> str:
        """Log somebody in with a scope as Keystone's API has it, or none."""
        return str(self.process.log_in({"name": user, "domain": {"id": "default"}}, scope).headers["x-subject-token"])

    def user_id(self, name: str) -> str:
        """Give a user's id."""
        return self._users[name]

    def brief_token(self, user: str, project: str, seconds: int) -> str:
        """Log somebody in for a few seconds."""
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        answer = self.process.log_in({"name": user, "domain": {"id": "default"}}, scope, {"X-Expiration-Seconds": str(seconds)})
        return str(answer.headers["x-subject-token"])

    def revoke(self, token: str) -> None:
        """Make a token worth nothing."""
        self.ask("DELETE", "/auth/tokens", **{"X-Subject-Token": token})

    def register(self, kind: str, name: str, url: str) -> None:
        """Put a service into the catalog."""
        service = self.ask("POST", "/services", {"service": {"type": kind, "name": name}})["service"]
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": service["id"], "interface": interface, "url": url, "region_id": "RegionOne"}
            self.ask("POST", "/endpoints", {"endpoint": endpoint})

    def application_credential(self, user: str, project: str, **more: Any) -> str:
        """Make an application credential and log in with it."""
        own = self.token(user, project)
        content = {"application_credential": {"name": f"credential-{len(more)}", **more}}
        path = f"/users/{self._users[user]}/application_credentials"
        made = self.ask("POST", path, content, **{"X-Auth-Token": own})["application_credential"]
        identity = {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
        answer = self.process.http.post(f"{self.url}/auth/tokens", json={"auth": {"identity": identity}})
        assert answer.status_code == 201, answer.text
        return str(answer.headers["x-subject-token"])
