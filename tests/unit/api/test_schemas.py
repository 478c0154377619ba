# SPDX-License-Identifier: Apache-2.0
"""Which bodies and queries each version takes, and in which words it refuses the others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wherry.api import faults, microversions, validation
from wherry.api.schemas import (
    flavors,
    hypervisors,
    instance_actions,
    server_actions,
    server_metadata,
    server_migrations,
    server_update,
    servers,
    services,
)
from wherry.api.schemas import parameter_types as types

V1 = {"host": None, "block_migration": False, "disk_over_commit": False}
V25 = {"host": None, "block_migration": "auto"}
V1000 = {**V25, "timeout_seconds": 300, "on_timeout": "abort"}


def migrate(version: str, body: dict[str, Any]) -> str:
    """Give the refusal's text, or nothing."""
    try:
        server_actions.MIGRATE_LIVE.check_body({"os-migrateLive": body}, microversions.parse(version))
    except faults.HttpFault as fault:
        assert fault.code == 400
        return fault.message
    return ""


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("2.1", V1),
        ("2.24", {**V1, "host": "h2", "block_migration": "True", "disk_over_commit": "off"}),
        ("2.25", V25),
        ("2.29", {"host": "h2", "block_migration": True}),
        ("2.30", {**V25, "force": True, "host": "h2"}),
        ("2.34", V25),
        ("2.67", {**V25, "force": "false"}),
        ("2.68", V25),
        ("2.104", {"host": "a.b-c_9", "block_migration": "yes"}),
        ("2.1000", V25),
        ("2.1000", V1000),
        ("2.1000", {**V25, "timeout_seconds": 0}),
        ("2.1000", {**V25, "on_timeout": "force_complete"}),
    ],
)
def test_a_body_of_its_version_is_accepted(version: str, body: dict[str, Any]) -> None:
    assert migrate(version, body) == ""


_EXTRA = "Additional properties are not allowed ('{}' was unexpected)"
_MISSING = "'{}' is a required property"


@pytest.mark.parametrize(
    ("version", "body", "text"),
    [
        ("2.1", {"block_migration": False, "disk_over_commit": False}, _MISSING.format("host")),
        ("2.1", {"host": None, "disk_over_commit": False}, _MISSING.format("block_migration")),
        ("2.24", {"host": None, "block_migration": False}, _MISSING.format("disk_over_commit")),
        ("2.24", {**V1, "block_migration": "auto"}, "'auto' is not one of"),
        ("2.1", {**V1, "force": True}, _EXTRA.format("force")),
        ("2.25", V1, _EXTRA.format("disk_over_commit")),
        ("2.29", {**V25, "force": True}, _EXTRA.format("force")),
        ("2.25", {"host": None}, _MISSING.format("block_migration")),
        ("2.30", {"block_migration": "auto"}, _MISSING.format("host")),
        ("2.34", {**V25, "disk_over_commit": True}, _EXTRA.format("disk_over_commit")),
        ("2.67", {**V25, "force": "perhaps"}, "'perhaps' is not one of"),
        ("2.68", {**V25, "force": True}, _EXTRA.format("force")),
        ("2.104", V1000, "('on_timeout', 'timeout_seconds' were unexpected)"),
        ("2.1000", {**V25, "force": False}, _EXTRA.format("force")),
        ("2.1000", {**V25, "timeout_seconds": -1}, "-1 is less than the minimum of 0"),
        ("2.1000", {**V25, "timeout_seconds": True}, "True is not of type 'integer'"),
        ("2.1000", {**V25, "timeout_seconds": "300"}, "'300' is not of type 'integer'"),
        ("2.1000", {**V25, "timeout_seconds": None}, "None is not of type 'integer'"),
        ("2.1000", {**V25, "on_timeout": "explode"}, "'explode' is not one of ['abort', 'force_complete']"),
        ("2.30", {**V25, "block_migration": None}, "None is not of type 'boolean', 'string'"),
        ("2.30", {**V25, "block_migration": 1}, "1 is not of type 'boolean', 'string'"),
        ("2.34", {**V25, "host": ""}, "'' should be non-empty"),
        ("2.34", {**V25, "host": "h2;rm"}, "'h2;rm' does not match"),
        ("2.34", {**V25, "host": "x" * 256}, "is too long"),
        ("2.34", {**V25, "host": ["h2"]}, "['h2'] is not of type 'string', 'null'"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_reason(version: str, body: dict[str, Any], text: str) -> None:
    message = migrate(version, body)
    assert text in message
    assert message.startswith("Invalid input for field/attribute ")


def test_the_field_is_named_with_its_value() -> None:
    assert migrate("2.34", {**V25, "host": 7}) == ("Invalid input for field/attribute host. Value: 7. 7 is not of type 'string', 'null'")


def test_at_the_root_only_the_sentence_is_given() -> None:
    with pytest.raises(faults.HttpFault) as raised:
        server_actions.MIGRATE_LIVE.check_body({"os-migrateLive": V25, "more": 1}, microversions.parse("2.34"))
    assert raised.value.message == "Additional properties are not allowed ('more' was unexpected). Known here: os-migrateLive."


@pytest.mark.parametrize(
    ("version", "body", "text"),
    [
        ("2.1", V1000, "'auto' is not one of .*\\. All of it fits microversion 2\\.1000; the request was sent at 2\\.1\\."),
        ("2.1", V25, "All of it fits microversion 2\\.25;"),
        ("2.24", {"host": None, "block_migration": True}, "'disk_over_commit' is a required property. All of it fits microversion 2\\.25;"),
        ("2.104", V1, "\\('disk_over_commit' was unexpected\\)\\. 'disk_over_commit' is not known from microversion 2\\.25 on\\."),
        ("2.68", {**V25, "force": True}, "'force' is not known from microversion 2\\.68 on\\."),
        ("2.104", {**V25, "timeout_seconds": 5}, "'timeout_seconds' is known from microversion 2\\.1000 on\\."),
        ("2.1000", {**V25, "timeout_second": 5}, "Known here: host, block_migration, timeout_seconds, on_timeout\\."),
        ("2.1000", {**V25, "timeout_seconds": "5"}, "'5' is not of type 'integer'"),
    ],
)
def test_a_refusal_says_what_to_send(version: str, body: dict[str, Any], text: str) -> None:
    assert re.search(f"{text}( the request was sent at 2\\.[0-9]+\\.)?$", migrate(version, body))


def test_a_query_of_another_version_says_which() -> None:
    with pytest.raises(faults.HttpFault, match=r"'changes-before' is known from microversion 2\.66 on\."):
        instance_actions.LIST.check_query({"changes-before": ["2026-01-01"]}, microversions.parse("2.58"))
    with pytest.raises(faults.HttpFault, match=r"Known here: limit, marker, changes-since\."):
        instance_actions.LIST.check_query({"since": ["2026-01-01"]}, microversions.parse("2.58"))


@pytest.mark.parametrize(
    ("schema", "version", "body"),
    [
        (server_actions.MIGRATE_LIVE, "2.90", {"os-migrateLive": {**V25, "host": "h2\n"}}),
        (server_update.UPDATE, "2.90", {"server": {"name": "web\n"}}),
        (server_update.UPDATE, "2.90", {"server": {"hostname": "web\n"}}),
        (server_metadata.SEVERAL, "2.90", {"metadata": {"key\n": "value"}}),
        (flavors.CREATE_EXTRA_SPECS, "2.90", {"extra_specs": {"key\n": "value"}}),
        (services.UPDATE_BY_NAME, "2.1", {"host": "h1\n", "binary": "nova-compute"}),
    ],
)
def test_the_end_of_a_pattern_is_the_end_of_the_text(schema: validation.Schema, version: str, body: dict[str, Any]) -> None:
    with pytest.raises(faults.HttpFault, match="does not match"):
        schema.check_body(body, microversions.parse(version))
    with pytest.raises(faults.HttpFault, match="does not match"):
        instance_actions.LIST.check_query({"limit": ["1\n"]}, microversions.parse("2.90"))


def test_the_legacy_api_lets_unknown_keys_pass_and_nothing_else() -> None:
    schema, version = server_actions.MIGRATE_LIVE, microversions.MINIMUM
    schema.check_body({"os-migrateLive": {**V1, "more": 1}}, version, is_tolerant=True)
    with pytest.raises(faults.HttpFault):
        schema.check_body({"os-migrateLive": {**V25, "more": 1}}, version, is_tolerant=True)


@pytest.mark.parametrize("value", [True, "True", "TRUE", "true", "1", "on", "On", "ON", "yes", "Yes", "YES"])
def test_what_nova_reads_as_true_is_true(value: object) -> None:
    assert types.as_bool(value) and value in types.BOOLEAN["enum"]


@pytest.mark.parametrize("value", [False, "False", "FALSE", "false", "0", "off", "Off", "OFF", "no", "No", "NO"])
def test_what_nova_reads_as_false_is_false(value: object) -> None:
    assert not types.as_bool(value) and value in types.BOOLEAN["enum"]


@pytest.mark.parametrize(
    ("schema", "version", "query", "kept"),
    [
        (servers.LIST, "2.1", {"name": ["a"], "nonsense": ["1"]}, {"name": ["a"]}),
        (servers.LIST, "2.65", {"changes-before": ["2026-01-01T00:00:00Z"]}, {}),
        (servers.LIST, "2.66", {"changes-before": ["2026-01-01T00:00:00Z"]}, {"changes-before": ["2026-01-01T00:00:00Z"]}),
        (server_migrations.LIST, "2.101", {"limit": ["1"]}, {}),
        (services.LIST, "2.74", {"host": ["h"], "nonsense": ["1"]}, {"host": ["h"]}),
        (hypervisors.LIST, "2.32", {"limit": ["1"]}, {}),
        (hypervisors.LIST, "2.33", {"limit": ["1"]}, {"limit": ["1"]}),
        (hypervisors.LIST, "2.53", {"with_servers": ["true"]}, {"with_servers": ["true"]}),
        (instance_actions.LIST, "2.57", {"limit": ["1"]}, {}),
    ],
)
def test_queries_keep_what_they_know(
    schema: validation.Schema, version: str, query: dict[str, list[str]], kept: dict[str, list[str]]
) -> None:
    assert schema.check_query(query, microversions.parse(version)) == kept


@pytest.mark.parametrize(
    ("schema", "version", "query", "text"),
    [
        (servers.LIST, "2.75", {"nonsense": ["1"]}, "Additional properties are not allowed ('nonsense' was unexpected)"),
        (
            servers.LIST,
            "2.1",
            {"limit": ["-1"]},
            "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]{1,10}$'",
        ),
        (servers.LIST, "2.1", {"limit": ["99999999999"]}, "Invalid input for query parameters limit."),
        (servers.LIST, "2.1", {"changes-since": ["yesterday"]}, "'yesterday' is not a 'date-time'"),
        (servers.LIST, "2.1", {"name": ["a\x00b"]}, "Invalid input for query parameters name."),
        (server_migrations.LIST, "2.102", {"limit": ["1"]}, "Additional properties are not allowed ('limit' was unexpected)"),
        (services.LIST, "2.75", {"nonsense": ["1"]}, "Additional properties are not allowed"),
        (hypervisors.LIST, "2.75", {"nonsense": ["1"]}, "Additional properties are not allowed"),
        (hypervisors.LIST, "2.53", {"with_servers": ["perhaps"]}, "'perhaps' is not one of"),
        (hypervisors.LIST, "2.53", {"limit": ["1", "2"]}, "Invalid input for query parameters limit. Value: ['1', '2']."),
        (instance_actions.LIST, "2.58", {"nonsense": ["1"]}, "Additional properties are not allowed"),
        (instance_actions.LIST, "2.65", {"changes-before": ["2026-01-01T00:00:00Z"]}, "Additional properties are not allowed"),
    ],
)
def test_queries_refuse_in_novas_words(schema: validation.Schema, version: str, query: dict[str, list[str]], text: str) -> None:
    with pytest.raises(faults.HttpFault) as raised:
        schema.check_query(query, microversions.parse(version))
    assert raised.value.code == 400
    assert text in raised.value.message


@pytest.mark.parametrize(
    "text",
    ["2026-11-20T08:00:00Z", "2026-11-20T08:00:00", "2026-11-20T09:00:00+01:00", "2026-11-20T09:00:00 01:00", "2026-11-20 08:00:00"],
)
def test_times_are_read_as_utc_however_they_are_written(text: str) -> None:
    assert validation.read_time(text).isoformat() == "2026-11-20T08:00:00+00:00"


def test_versions_of_a_schema_must_rise() -> None:
    with pytest.raises(ValueError, match="must rise"):
        validation.Schema(("2.2", {}), ("2.1", {}))
