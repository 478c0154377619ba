# SPDX-License-Identifier: Apache-2.0
"""Released clients from password to migrated server, by Keystone's catalog. What each command does is tested without Keystone."""

from __future__ import annotations

from tests.clients import running
from tests.clients.keystone import conftest
from wherry.testing import keystone as keystones


def environ(cloud: conftest.Cloud, user: str, project: str) -> dict[str, str]:
    """What `openstack` is told by an openrc file."""
    return {
        "OS_AUTH_URL": cloud.keystone.url,
        "OS_USERNAME": user,
        "OS_PASSWORD": keystones.PASSWORD,
        "OS_PROJECT_NAME": project,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": "RegionOne",
    }


def test_an_administrator_lists_moves_and_follows(cloud: conftest.Cloud) -> None:
    client = running.openstack(environ(cloud, "admin", "admin"))
    assert client.json("server", "list") == []
    listed = {row["Name"]: row for row in client.json("server", "list", "--all-projects", "--no-name-lookup")}
    assert {"idle-30", "restless-1"} <= set(listed)
    source = cloud.service.host_of("idle-30")
    destination = "h2" if source == "h1" else "h1"
    # By its id: a name is looked for in the administrator's own project, as with Nova.
    client.run("server", "migrate", "--live-migration", "--host", destination, cloud.service.id_of("idle-30"))
    assert cloud.service.settled("idle-30")["status"] == "completed"
    assert cloud.service.host_of("idle-30") == destination
    assert [row["Status"] for row in client.json("server", "migration", "list", "--server", cloud.service.id_of("idle-30"))] == [
        "completed"
    ]
    assert "h1" in {row["Host"] for row in client.json("compute", "service", "list")}


def test_a_project_manager_moves_its_own_servers_and_sees_no_hosts(cloud: conftest.Cloud) -> None:
    client = running.openstack(environ(cloud, "manager", "home"))
    client.run("server", "migrate", "--live-migration", "idle-31")
    assert cloud.service.settled("idle-31")["status"] == "completed"
    # Who may not see all projects names their own, as with Nova.
    own = ("--project", cloud.keystone.projects["home"], "--server", cloud.service.id_of("idle-31"))
    (row,) = client.json("--os-compute-api-version", "2.80", "server", "migration", "list", *own)
    assert row["Source Compute"] is None
    refused = client.run("compute", "service", "list", status=None)
    assert "Policy doesn't allow os_compute_api:os-services:list to be performed." in refused.error


def test_others_are_told_why_they_may_not(cloud: conftest.Cloud) -> None:
    reader = running.openstack(environ(cloud, "reader", "home"))
    assert "idle-32" in {row["Name"] for row in reader.json("server", "list", "--no-name-lookup")}
    refused = reader.run("server", "migrate", "--live-migration", "idle-32", status=None)
    assert "Policy doesn't allow os_compute_api:os-migrate-server:migrate_live to be performed." in refused.error
    foreign = running.openstack(environ(cloud, "frank", "foreign"))
    assert "No Server found for idle-32" in foreign.run("server", "migrate", "--live-migration", "idle-32", status=None).error
    assert cloud.service.migrations("idle-32") == []


def test_a_system_scope_is_answered_with_what_to_do(cloud: conftest.Cloud) -> None:
    told = {name: value for name, value in environ(cloud, "admin", "admin").items() if "PROJECT" not in name}
    refused = running.openstack({**told, "OS_SYSTEM_SCOPE": "all"}).run("server", "list", status=None)
    assert "The token is scoped to the system, and servers belong to projects." in refused.error


def test_novaclient_logs_in_too(cloud: conftest.Cloud) -> None:
    client = running.nova(environ(cloud, "admin", "admin"))
    client.run("live-migration", cloud.service.id_of("idle-33"))
    assert cloud.service.settled("idle-33")["status"] == "completed"


def test_a_wrong_password_is_keystones_business(cloud: conftest.Cloud) -> None:
    client = running.openstack({**environ(cloud, "admin", "admin"), "OS_PASSWORD": "wrong"})
    assert "HTTP 401" in client.run("server", "list", status=None).error
