# SPDX-License-Identifier: Apache-2.0
"""Whom Wherry believes, and as what, by tokens of a real Keystone."""

from __future__ import annotations

import pytest

from tests.clients.keystone import conftest

MOVE = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
REFUSED = {"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}


@pytest.mark.parametrize(
    ("user", "project", "codes"),
    [
        # To read a server, to move it, and to list the services.
        ("admin", "admin", (200, 202, 200)),
        ("manager", "home", (200, 202, 403)),
        ("member", "home", (200, 403, 403)),
        ("reader", "home", (200, 403, 403)),
        # A manager, but elsewhere: the server does not exist for it.
        ("frank", "foreign", (404, 404, 403)),
        # The role service lets tokens be validated, and nothing else.
        ("wherry", "service", (404, 404, 403)),
    ],
)
def test_roles_and_projects_are_keystones(cloud: conftest.Cloud, user: str, project: str, codes: tuple[int, int, int]) -> None:
    token = cloud.keystone.token(user, project)
    name = f"idle-{[*cloud.keystone.people, 'admin'].index(user) + 1}"
    server_id = cloud.service.id_of(name)
    moved = cloud.send("POST", f"/servers/{server_id}/action", token, json=MOVE).status_code
    assert (cloud.code(f"/servers/{server_id}", token), moved, cloud.code("/os-services", token)) == codes
    assert len(cloud.service.migrations(name)) == (1 if moved == 202 else 0)


def test_the_migration_remembers_who_asked(cloud: conftest.Cloud) -> None:
    server_id = cloud.service.id_of("idle-20")
    token = cloud.keystone.token("manager", "home")
    assert cloud.send("POST", f"/servers/{server_id}/action", token, json=MOVE).status_code == 202
    (migration,) = cloud.service.migrations("idle-20")
    assert migration["project_id"] == cloud.keystone.projects["home"]
    assert migration["user_id"] == cloud.keystone.user_id("manager")


@pytest.mark.parametrize(
    ("user", "scope", "said"),
    [
        ("nobody", None, "nothing"),
        ("admin", {"system": {"all": True}}, "the system"),
        ("admin", {"domain": {"id": "default"}}, "a domain"),
    ],
)
def test_a_token_for_no_project_is_refused_with_what_to_do(cloud: conftest.Cloud, user: str, scope: object, said: str) -> None:
    """Even an administrator's: as in Nova, everything here belongs to projects."""
    if said == "a domain":
        cloud.keystone.assign("admin", "admin", "domains/default")
    answer = cloud.send("GET", "/servers", cloud.keystone.scoped(user, scope))
    assert answer.status_code == 403
    message = answer.json()["forbidden"]["message"]
    assert message.startswith(f"The token is scoped to {said}, and servers belong to projects.")
    assert "name the project" in message


@pytest.mark.parametrize("token", [None, "", "garbage", "gAAAAABrABDRt4_AphHZcZxpDeFCrIvI2qcpq3Au50Yn", "a b", "é", "x" * 9000])
def test_what_is_no_token_is_a_401_that_names_keystone(cloud: conftest.Cloud, token: str | None) -> None:
    headers = {} if token is None else {b"X-Auth-Token": token.encode("latin-1")}
    answer = cloud.http.get("/v2.1/servers", headers=headers)
    assert (answer.status_code, answer.json()) == (401, REFUSED)
    assert answer.headers["www-authenticate"] == f'Keystone uri="{cloud.keystone.url}"'
    assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_version_documents_need_no_token_and_wherry_is_no_keystone(cloud: conftest.Cloud) -> None:
    assert cloud.http.get("/v2.1").status_code == 200
    assert cloud.http.post("/v3/auth/tokens", json={}).status_code == 405
    assert cloud.http.get("/v3").status_code == 300


def test_a_revoked_token_ends_within_the_cache_period(cloud: conftest.Cloud) -> None:
    token = cloud.keystone.token("reader", "home")
    assert cloud.code("/servers", token) == 200
    cloud.keystone.revoke(token)
    cloud.until(lambda: cloud.code("/servers", token) == 401, "the revoked token to be refused")
    # Others are not touched.
    assert cloud.code("/servers", cloud.keystone.token("reader", "home")) == 200


def test_a_service_token_adds_no_rights_and_a_bad_one_spoils_the_request(cloud: conftest.Cloud) -> None:
    token = cloud.keystone.token("reader", "home")
    mover = cloud.keystone.token("mover", "service")
    assert cloud.code("/servers", token, service_token=mover) == 200
    assert cloud.code("/os-services", token, service_token=mover) == 403
    assert cloud.code("/servers", None, service_token=mover) == 401
    assert cloud.code("/servers", token, service_token="garbage") == 401
    assert cloud.code("/servers", token, service_token=token) == 401


def test_an_application_credential_is_its_user_but_one_with_access_rules_is_refused(cloud: conftest.Cloud) -> None:
    """Rules that Wherry does not enforce must not be taken for no rules."""
    free = cloud.keystone.application_credential("member", "home")
    assert cloud.code("/servers", free) == 200
    rules = [{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]
    confined = cloud.keystone.application_credential("member", "home", access_rules=rules)
    assert cloud.code("/servers", confined) == 401
    assert cloud.code("/flavors", confined) == 401


def test_a_long_copy_outlives_the_token_that_asked_for_it(cloud: conftest.Cloud) -> None:
    """And a service that acts for the user still may, though the user itself no longer may."""
    token = cloud.keystone.brief_token("manager", "home", seconds=5)
    server_id = cloud.service.id_of("restless-20")
    assert cloud.send("POST", f"/servers/{server_id}/action", token, json=MOVE).status_code == 202
    migration = cloud.service.running("restless-20")
    cloud.until(lambda: cloud.code("/servers", token) == 401, "the token to expire")
    assert cloud.service.migrations("restless-20")[0]["status"] == "running"
    path = f"/servers/{server_id}/migrations/{migration['id']}/action"
    # Who is no service, or nobody, makes no expired token good.
    for wrong in (None, cloud.keystone.admin, cloud.keystone.token("manager", "home"), "garbage"):
        assert cloud.send("POST", path, token, service_token=wrong, json={"force_complete": None}).status_code == 401
    mover = cloud.keystone.token("mover", "service")
    completed = cloud.send("POST", path, token, service_token=mover, json={"force_complete": None})
    assert completed.status_code == 202, completed.text
    # Having been accepted so does not make it good by itself.
    assert cloud.code("/servers", token) == 401
    assert cloud.service.settled("restless-20")["status"] == "completed"
