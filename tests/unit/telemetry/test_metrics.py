# SPDX-License-Identifier: Apache-2.0
"""Each Metrics counts for itself, and names carry units."""

from __future__ import annotations

from wherry.telemetry import metrics


def test_two_processes_in_one_interpreter_do_not_add_up() -> None:
    one, other = metrics.Metrics(), metrics.Metrics()
    one.migrations.labels(outcome="completed", reason="").inc()
    name, labels = "wherry_migrations_total", {"outcome": "completed", "reason": ""}
    assert one.registry.get_sample_value(name, labels) == 1
    assert other.registry.get_sample_value(name, labels) is None


def test_the_page_shows_what_was_counted() -> None:
    counted = metrics.Metrics()
    counted.deadlines_fired.labels(action="abort").inc(7)
    counted.transfer_seconds.labels(outcome="failed").observe(1.5)
    page = counted.render().decode()
    assert '\nwherry_migration_deadlines_fired_total{action="abort"} 7.0\n' in page
    assert '\nwherry_migration_transfer_seconds_bucket{le="2.0",outcome="failed"} 1.0\n' in page


def test_the_end_of_a_migration_is_counted_with_its_transfer() -> None:
    counted = metrics.Metrics()
    counted.migration_ended("error", "no_valid_host")
    counted.migration_ended("completed", None, 2.0)
    value = counted.registry.get_sample_value
    assert value("wherry_migrations_total", {"outcome": "error", "reason": "no_valid_host"}) == 1
    assert value("wherry_migrations_total", {"outcome": "completed", "reason": ""}) == 1
    assert value("wherry_migration_transfer_seconds_count", {"outcome": "error"}) is None
    assert value("wherry_migration_transfer_seconds_sum", {"outcome": "completed"}) == 2


def test_names_and_labels() -> None:
    """One prefix, a unit where something has one, and no label that grows with the servers."""
    collectors = [value for value in vars(metrics.Metrics()).values() if hasattr(value, "_labelnames")]
    assert len(collectors) > 5
    for collector in collectors:
        assert collector._name.startswith("wherry_")
        assert collector._documentation.endswith(".")
        assert not set(collector._labelnames) & {"server", "instance_uuid", "migration_id", "request_id"}
        if collector._type == "histogram":
            assert collector._name.endswith("_seconds")
