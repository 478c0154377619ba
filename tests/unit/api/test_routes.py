# SPDX-License-Identifier: Apache-2.0
"""Guards on the table of routes: nothing in it is incomplete, ambiguous, or known only to it."""

from __future__ import annotations

import inspect
import itertools
import pathlib
import re

import pytest

from wherry import policies
from wherry.api import faults, microversions, routes, routing

ROUTES = routes.ROUTES
IDS = [f"{route.name} {route.first}" for route in ROUTES]
RULES = {rule.name: rule for rule in policies.list_rules()}


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_each_route_has_rule_schema_view_and_handler(route: routing.Route) -> None:
    assert route.policy in RULES
    assert inspect.iscoroutinefunction(route.handler)
    # The path of a tag says all: to ask for it is to be told 204 or 404, to add it takes no body.
    is_tag = route.path.endswith("/tags/{tag}")
    if route.method == "GET":
        assert route.query is not None and (route.view is not None or is_tag) and route.body is None
    elif route.method in ("POST", "PUT"):
        assert (route.body is None) == is_tag
    # Nova's removal of an extra spec is a 200 without a body, its making of a server a 202 with one.
    has_body = (route.status == 200 and route.method != "DELETE") or route.name == "POST /servers"
    assert (route.view is not None) == has_body
    assert route.summary.endswith(".")


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_each_rule_says_which_operations_it_guards(route: routing.Route) -> None:
    assert route.name in RULES[route.policy].operations


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_a_route_about_a_server_or_group_asks_its_rule_about_that_one(route: routing.Route) -> None:
    assert (route.concern is routing.Concern.SERVER) == ("{server_id}" in route.path)
    assert (route.concern is routing.Concern.GROUP) == ("{group_id}" in route.path)


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_schemas_hold_from_the_routes_first_version(route: routing.Route) -> None:
    for schema in (route.query, route.body):
        if schema is not None:
            assert schema.versions[0] <= route.versions[0]


def test_versions_of_one_operation_do_not_overlap() -> None:
    for one, other in itertools.combinations(ROUTES, 2):
        if one.name == other.name:
            (first, last), (other_first, other_last) = one.versions, other.versions
            assert last < other_first or other_last < first, one.name


def test_every_version_at_which_something_changes_is_in_the_history() -> None:
    listed = {version for version, _ in microversions.HISTORY}
    for route in ROUTES:
        changes = [route.first, *([route.last] if route.last else [])]
        changes += [str(version) for schema in (route.query, route.body) if schema for version in schema.versions]
        assert set(changes) <= listed


def test_no_rule_is_left_that_guards_nothing() -> None:
    known = {route.name for route in ROUTES}
    for rule in RULES.values():
        assert set(rule.operations) <= known, rule.name


TABLE = routing.Table(ROUTES)


def _choose(method: str, path: str, version: str = "2.104", action: str = "") -> routing.Route:
    endpoint = TABLE.find([segment for segment in path.split("/") if segment])
    assert endpoint is not None
    return endpoint.choose(method, microversions.parse(version), action)


def test_a_literal_segment_wins_over_a_name() -> None:
    assert _choose("GET", "/servers/detail").path == "/servers/detail"
    assert _choose("GET", "/servers/details").path == "/servers/{server_id}"
    assert _choose("GET", "/servers/detail/migrations").path == "/servers/{server_id}/migrations"


@pytest.mark.parametrize("project", ["0123456789abcdef0123456789abcdef", "admin", "some.project"])
def test_a_project_before_the_resource_is_cut_off(project: str) -> None:
    endpoint = TABLE.find([project, "servers", "S", "migrations", "7"])
    assert endpoint is not None
    assert (endpoint.project_id, endpoint.arguments) == (project, {"server_id": "S", "migration_id": "7"})


@pytest.mark.parametrize("path", ["", "nothing", "p1", "p1/p2/servers", "servers/S/nothing", "servers/S/migrations/7/8", "os-services/a/b"])
def test_unknown_paths(path: str) -> None:
    assert TABLE.find([segment for segment in path.split("/") if segment]) is None


def test_a_method_that_a_version_lacks_is_a_404_and_one_that_none_has_a_405() -> None:
    with pytest.raises(faults.HttpFault) as raised:
        _choose("DELETE", "/servers/S/migrations/7", "2.23")
    assert raised.value.code == 404
    with pytest.raises(faults.HttpFault) as raised:
        _choose("PATCH", "/servers/S/migrations/7")
    assert raised.value.code == 405
    assert raised.value.headers == {"Allow": "DELETE, GET"}


def test_an_unknown_action_is_a_400_in_novas_words() -> None:
    with pytest.raises(faults.HttpFault) as raised:
        _choose("POST", "/servers/S/action", action="explode")
    assert raised.value.code == 400
    assert raised.value.message.startswith("There is no such action: explode. Send one of: ")


def test_services_are_updated_in_two_ways_by_version() -> None:
    old, new = _choose("PUT", "/os-services/x", "2.52"), _choose("PUT", "/os-services/x", "2.53")
    assert old.handler is not new.handler


def test_paths_are_written_alike() -> None:
    for route in ROUTES:
        assert re.fullmatch(r"(/[a-z][a-z_-]*|/\{[a-z_]+\})+", route.path)


def test_the_page_has_each_route_with_its_versions_and_codes() -> None:
    page = (pathlib.Path(__file__).parents[3] / "docs/reference/routes.md").read_text()
    section = page.partition("## Routes")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line.startswith("| `")]
    expected = []
    for route in ROUTES:
        name = f"`{route.method} {route.path}`" + (f" `{route.action}`" if route.action else "")
        since = "all" if route.first == "2.1" else f"{route.first} and later"
        versions = f"{route.first} to {route.last}" if route.last else since
        expected.append((name, versions, ", ".join(str(code) for code in route.codes), route.summary))
    assert rows == expected
