# SPDX-License-Identifier: Apache-2.0
"""How links are shared: max-min fairness, in numbers."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from wherry.drivers.simulated import network


class Flow:
    """The least that crosses links."""

    def __init__(self, *links: network.Link, limit_mib: float = math.inf) -> None:
        self.links = links
        self.limit_bytes_per_second = limit_mib * network.MIB
        self.rate = 0.0
        for link in links:
            link.flows[self] = None


def rates_mib(*flows: Flow) -> list[Any]:
    network.share(list(flows))
    return [pytest.approx(flow.rate / network.MIB, rel=1e-9) for flow in flows]


def test_flows_out_of_one_host_share_its_link_evenly() -> None:
    up = network.Link("up", 90)
    downs = [network.Link(f"down{number}", 1000) for number in range(3)]
    assert rates_mib(*(Flow(up, down) for down in downs)) == [30, 30, 30]


def test_what_one_cannot_use_the_others_get() -> None:
    up = network.Link("up", 90)
    narrow, wide = network.Link("narrow", 10), network.Link("wide", 1000)
    assert rates_mib(Flow(up, narrow), Flow(up, wide)) == [10, 80]
    other = network.Link("other", 100)
    assert rates_mib(Flow(other, limit_mib=20), Flow(other)) == [20, 80]


def test_a_core_link_is_shared_by_all() -> None:
    core = network.Link("core", 100)
    flows = [Flow(network.Link(f"up{number}", 1000), core) for number in range(4)]
    assert rates_mib(*flows) == [25, 25, 25, 25]


def test_a_cut_link_carries_nothing_and_leaves_its_share() -> None:
    up = network.Link("up", 90)
    dead, alive = network.Link("dead", 100), network.Link("alive", 100)
    dead.is_up = False
    assert rates_mib(Flow(up, dead), Flow(up, alive)) == [0, 90]


def test_only_flows_that_depend_on_a_link_are_looked_at() -> None:
    first, between, apart = network.Link("first", 1), network.Link("between", 1), network.Link("apart", 1)
    near, far, other = Flow(first, between), Flow(between), Flow(apart)
    assert set(network.connected([first])) == {near, far}
    assert set(network.connected([apart])) == {other}


@hypothesis.given(st.data())
def test_no_link_is_overfull_and_no_flow_could_have_more(data: st.DataObject) -> None:
    """The definition of max-min fairness, on any network."""
    links = [network.Link(str(number), data.draw(st.floats(1, 1000))) for number in range(data.draw(st.integers(1, 6)))]
    flows = [
        Flow(
            *data.draw(st.lists(st.sampled_from(links), min_size=1, max_size=3, unique=True)),
            limit_mib=data.draw(st.one_of(st.just(math.inf), st.floats(1, 500))),
        )
        for _ in range(data.draw(st.integers(1, 8)))
    ]
    network.share(flows)
    for link in links:
        assert sum(flow.rate for flow in link.flows if isinstance(flow, Flow)) <= link.bytes_per_second * (1 + 1e-9)
    for flow in flows:
        if flow.rate >= flow.limit_bytes_per_second * (1 - 1e-9):
            continue
        full = [link for link in flow.links if sum(crossing.rate for crossing in link.flows) >= link.bytes_per_second * (1 - 1e-9)]
        assert any(all(crossing.rate <= flow.rate * (1 + 1e-9) for crossing in link.flows) for link in full)
