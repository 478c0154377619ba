# SPDX-License-Identifier: Apache-2.0
"""Versions, refusals and names, with services that are not Wherry."""

from __future__ import annotations

import pytest
from osc_lib import exceptions

from tests.unit.cli import nova
from wherry.cli import compute

UUID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


@pytest.mark.parametrize(
    ("offered", "pinned", "for_nova", "best"),
    [
        ("2.96", None, (2, 96), (2, 96)),
        ("2.104", None, (2, 104), (2, 104)),
        # A later Nova's: what it means is not known here.
        ("2.120", None, (2, 104), (2, 104)),
        ("2.1000", None, (2, 104), (2, 1000)),
        ("2.1003", None, (2, 104), (2, 1000)),
        ("2.1000", "2.60", (2, 60), (2, 60)),
        ("2.96", "2.latest", (2, 96), (2, 96)),
    ],
)
def test_versions(offered: str, pinned: str | None, for_nova: compute.Version, best: compute.Version) -> None:
    api = nova.Nova({}, newest=offered).api(pinned)
    assert (api.nova, api.best) == (for_nova, best)


def test_a_service_that_is_too_old_is_told_of_before_anything_is_sent() -> None:
    old = nova.Nova({}, newest="2.24")
    with pytest.raises(exceptions.CommandError, match=r"need microversion 2\.25.*2\.24 is the newest"):
        old.api().find_server("web")
    assert old.asked == []


def test_the_version_is_sent_with_every_request() -> None:
    service = nova.Nova({f"GET /servers/{UUID}": {"server": {"id": UUID, "name": "web"}}})
    assert service.api().find_server(UUID) == (UUID, "web")
    assert [asked.version for asked in service.asked] == ["2.96"]


def test_a_refusal_says_what_was_tried_and_what_the_service_said() -> None:
    service = nova.Nova({"POST /x": (409, {"conflictingRequest": {"code": 409, "message": "Instance is locked."}})})
    with pytest.raises(compute.Refused) as caught:
        service.api().post("Live-migrating server web", "/x", {})
    assert str(caught.value) == "Live-migrating server web: Instance is locked. (HTTP 409, req-1)"
    assert (caught.value.code, caught.value.message) == (409, "Instance is locked.")


@pytest.mark.parametrize("body", [[], {}, {"error": "no"}])
def test_a_refusal_without_words_says_the_status(body: object) -> None:
    with pytest.raises(compute.Refused, match="HTTP status 418"):
        nova.Nova({"POST /x": (418, body)}).api().post("Trying", "/x", {})


def test_a_service_that_is_away_is_told_apart_from_one_that_refuses() -> None:
    service = nova.Nova({"GET /x": (503, {"serviceUnavailable": {"code": 503, "message": "Stopping."}})})
    api = service.api()
    with pytest.raises(compute.Away, match="Stopping"):
        api.get("Looking", "/x")
    service.is_away = True
    with pytest.raises(compute.Away, match="Looking"):
        api.get("Looking", "/x")


def _named(own: list[str], everywhere: list[str] | None) -> nova.Nova:
    """Give a service whose caller sees these ids in their project, and these in all; None = may not look there."""

    def servers(asked: nova.Asked) -> nova.Answer:
        if "all_tenants" not in asked.query:
            return {"servers": [{"id": one, "name": "web"} for one in own]}
        if everywhere is None:
            return 403, {"forbidden": {"code": 403, "message": "Policy doesn't allow it."}}
        return {"servers": [{"id": one, "name": "web"} for one in everywhere] + [{"id": "x", "name": "webserver"}]}

    return nova.Nova({"GET /servers": servers})


def test_a_name_is_looked_for_at_home_first() -> None:
    service = _named([UUID], [UUID, OTHER])
    assert service.api().find_server("web") == (UUID, "web")
    assert service.asked[0].query == {"name": "^web$"}


def test_a_name_is_then_looked_for_everywhere() -> None:
    assert _named([], [OTHER]).api().find_server("web") == (OTHER, "web")


@pytest.mark.parametrize("everywhere", [None, []])
def test_a_name_that_nobody_has(everywhere: list[str] | None) -> None:
    with pytest.raises(exceptions.CommandError, match="No server is called web"):
        _named([], everywhere).api().find_server("web")


def test_a_name_that_several_have_is_answered_with_their_ids() -> None:
    with pytest.raises(exceptions.CommandError, match=f"2 servers are called web.*{UUID}, {OTHER}"):
        _named([UUID, OTHER], []).api().find_server("web")


def test_a_name_is_no_pattern() -> None:
    """The service's filter is one: what is special in it only widens the search."""
    service = nova.Nova({"GET /servers": {"servers": [{"id": UUID, "name": "web(1)"}, {"id": OTHER, "name": "web-1-"}]}})
    assert service.api().find_server("web(1)") == (UUID, "web(1)")
    assert service.asked[0].query["name"] == "^web.1.$"


def test_servers_on_a_host_in_pages() -> None:
    def servers(asked: nova.Asked) -> nova.Answer:
        if asked.query.get("marker") == UUID:
            return {"servers": [{"id": OTHER, "name": "b"}]}
        return {"servers": [{"id": UUID, "name": "a"}], "servers_links": [{"rel": "next", "href": "…"}]}

    service = nova.Nova({"GET /servers": servers})
    assert service.api().servers_on("h1") == [(UUID, "a"), (OTHER, "b")]
    assert {asked.query["host"] for asked in service.asked} == {"h1"}
