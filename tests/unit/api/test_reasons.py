# SPDX-License-Identifier: Apache-2.0
"""What those who may not see hosts are told of a reason."""

from __future__ import annotations

import pytest

from wherry.api.views import reasons
from wherry.model import migration


def test_who_may_not_see_hosts_is_told_what_to_send_instead() -> None:
    """The message is written anew without names; the remedy of a missing ability has none and says what would be taken."""
    reason = migration.Reason(
        slug="capability_missing", message="The x driver of h1 cannot abort", remedy='Send on_timeout "force_complete".'
    )
    told = reasons.fields(reason, uuid="u1", shows_hosts=False)
    assert told["remedy"] == 'Send on_timeout "force_complete".'
    assert "h1" not in told["reason_message"]
    assert "the host" in told["reason_message"]


def test_other_remedies_name_no_host_to_them() -> None:
    reason = migration.Reason(slug="destination_down", message="Compute service of h2 is …", remedy="Bring back the agent of h2")
    told = reasons.fields(reason, uuid="u1", shows_hosts=False)
    assert "h2" not in f"{told['reason_message']} {told['remedy']}"


@pytest.mark.parametrize(
    ("slug", "told"),
    [
        ("destination_is_source", "Unable to migrate instance u1 to current host."),
        ("host_unreachable", "No agent answers for host."),
        ("migration_address_unreachable", "The source cannot reach … of the host: …"),
        ("storage_shared", "The host is not on local storage: Block migration can not be used with shared storage."),
    ],
)
def test_what_stands_for_a_host_reads_as_a_sentence(slug: str, told: str) -> None:
    assert reasons.fields(migration.Reason(slug=slug, message=""), uuid="u1", shows_hosts=False)["reason_message"] == told
