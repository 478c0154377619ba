# SPDX-License-Identifier: Apache-2.0
"""The numbers a process counts, in a registry of its own that is handed down.

There is no global registry: two all-in-one processes in one test do not add up. Names end in
their unit; labels have few values (never a server's or a request's id).
"""

from __future__ import annotations

import prometheus_client
from prometheus_client import Counter, Histogram

#: Of what `Metrics.render` gives.
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

_TRANSFER_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 43200)
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 120)


class Metrics:
    """Everything a Wherry process counts; who counts something is given this object."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry(auto_describe=True)
        registry = self.registry
        # Processor time, memory and open files of this process.
        prometheus_client.ProcessCollector(registry=registry)
        #: Migrations that reached a terminal status.
        self.migrations = Counter(
            "wherry_migrations", "Live migrations that ended, by terminal status and reason.", ["outcome", "reason"], registry=registry
        )
        self.transfer_seconds = Histogram(
            "wherry_migration_transfer_seconds",
            "Time from the start of a transfer to its end, by terminal status.",
            ["outcome"],
            buckets=_TRANSFER_BUCKETS,
            registry=registry,
        )
        self.deadlines_fired = Counter(
            "wherry_migration_deadlines_fired", "Deadlines that ran out, by what was done.", ["action"], registry=registry
        )
        self.rpc_messages_dropped = Counter(
            "wherry_rpc_messages_dropped", "Messages that were received and not acted on, by reason.", ["reason"], registry=registry
        )
        self.rpc_call_seconds = Histogram(
            "wherry_rpc_call_seconds",
            "Time until a call was answered or given up, by method and result.",
            ["method", "result"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self.api_request_seconds = Histogram(
            "wherry_api_request_seconds",
            "Time until a request was answered, by method, route and status.",
            ["method", "route", "status"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self.token_validations = Counter(
            "wherry_token_validations",
            "Tokens that were judged, by result: kept (known from before), valid, refused, unanswered, not asked.",
            ["result"],
            registry=registry,
        )

    def migration_ended(self, outcome: str, reason: str | None = None, transfer_seconds: float | None = None) -> None:
        """Count a migration that reached a terminal status, and how long its transfer took if there was one."""
        self.migrations.labels(outcome=outcome, reason=reason or "").inc()
        if transfer_seconds is not None:
            self.transfer_seconds.labels(outcome=outcome).observe(transfer_seconds)

    def render(self) -> bytes:
        """Return all numbers in the text format that Prometheus reads."""
        return prometheus_client.generate_latest(self.registry)
