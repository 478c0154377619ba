# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents say what the table of routes says, for each microversion."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from wherry.api import faults, microversions, openapi, routes

BASE = "http://api.example:8774"
#: Where something begins, ends or changes.
VERSIONS = ["2.1", "2.22", "2.23", "2.24", "2.34", "2.52", "2.53", "2.64", "2.75", "2.87", "2.88", "2.104", "2.1000"]


def _document(version: str) -> dict[str, Any]:
    return openapi.document(microversions.parse(version), BASE)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_document_has_each_route_of_its_version_and_no_other(version: str) -> None:
    number = microversions.parse(version)
    expected: dict[tuple[str, str], set[str]] = {}
    for route in routes.ROUTES:
        first, last = route.versions
        if first <= number <= last:
            expected.setdefault((route.path, route.method.lower()), set()).update(str(code) for code in route.codes)
    found = {
        (path, method): set(operation["responses"])
        for path, item in _document(version)["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert found == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_and_references_hold(version: str) -> None:
    document = _document(version)
    pending: list[Any] = [document]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            if "$ref" in one:
                found: Any = document
                for part in one["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            if "schema" in one:
                jsonschema.Draft202012Validator.check_schema(one["schema"])
            pending += one.values()
        elif isinstance(one, list):
            pending += one


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for item in _document("2.1000")["paths"].values()
        for operation in item.values()
        if "responses" in operation
    ]
    assert len(names) == len(set(names))


def test_the_body_of_an_action_is_one_of_the_actions_of_its_version() -> None:
    def keys(version: str) -> set[str]:
        operation = _document(version)["paths"]["/servers/{server_id}/action"]["post"]
        return {one["required"][0] for one in operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]}

    expected = {route.action for route in routes.ROUTES if route.path == "/servers/{server_id}/action" and route.first == "2.1"}
    assert keys("2.1") == expected
    assert {"os-migrateLive", "lock", "unlock", "os-resetState"} <= expected


def test_parameters_of_a_query_are_texts() -> None:
    parameters = _document("2.104")["paths"]["/servers"]["get"]["parameters"]
    (limit,) = (one for one in parameters if one["name"] == "limit")
    assert limit["schema"]["items"] == {"type": "string", "pattern": "^[0-9]{1,10}$", "minLength": 1}
    assert limit["in"] == "query"


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ({}, "2.1000"),
        ({"microversion": ["2.34"]}, "2.34"),
        ({"microversion": ["latest"]}, "2.1000"),
        ({"microversion": ["2.500"]}, "2.104"),
    ],
)
def test_the_version_is_asked_for(asked: dict[str, list[str]], version: str) -> None:
    assert str(openapi.asked_for(asked)) == version


@pytest.mark.parametrize(("text", "code"), [("2.x", 400), ("", 400), ("3.0", 406), ("2.1001", 406)])
def test_versions_that_are_not_served(text: str, code: int) -> None:
    with pytest.raises(faults.HttpFault) as raised:
        openapi.asked_for({"microversion": [text]})
    assert raised.value.code == code
