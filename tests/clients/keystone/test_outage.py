# SPDX-License-Identifier: Apache-2.0
"""How little Keystone is asked, and what happens while it cannot be."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.clients.keystone import conftest
from wherry import clock, config, errors
from wherry.auth import keystone as strategies
from wherry.auth import strategy
from wherry.telemetry import metrics
from wherry.testing import keystone as keystones

VALIDATION = "GET /v3/auth/tokens"


def make(keystone: keystones.Keystone, **options: object) -> tuple[strategy.Strategy, metrics.Metrics]:
    section = {"auth_url": keystone.url, "username": "wherry", "password": keystones.PASSWORD, **options}
    settings = config.load([], {}, {"api": {"auth_strategy": "keystone"}, "keystone": section})
    counters = metrics.Metrics()
    made = strategy.from_config(settings, clock.LoopClock(), counters)
    assert isinstance(made, strategies.Keystone)
    return made, counters


def keystone_threads() -> int:
    return sum(thread.name.startswith("keystone") for thread in threading.enumerate())


async def test_ten_thousand_requests_with_one_token_cost_one_validation_per_cache_period(keystone: keystones.Keystone) -> None:
    made, _ = make(keystone, token_cache_seconds=2)
    headers = {"x-auth-token": await asyncio.to_thread(keystone.token, "reader", "home")}
    before = keystone.process.requests(VALIDATION)
    started = time.monotonic()
    # All at once while nothing is known yet, then one after another.
    callers = await asyncio.gather(*(made.authenticate(headers, f"req-{number}") for number in range(5000)))
    for number in range(5000):
        await made.authenticate(headers, f"req-{number}")
    periods = 1 + int((time.monotonic() - started) / 2)
    assert {caller.user_id for caller in callers} == {keystone.user_id("reader")}
    assert 1 <= keystone.process.requests(VALIDATION) - before <= periods
    deadline = time.monotonic() + conftest.WAIT_SECONDS
    while keystone.process.requests(VALIDATION) - before < 2:
        assert time.monotonic() < deadline, "the cache period does not end"
        await made.authenticate(headers, "req-late")
        await asyncio.sleep(0.05)
    await made.close()


async def test_the_cache_holds_no_more_than_it_may(keystone: keystones.Keystone) -> None:
    made, counters = make(keystone, token_cache_size=2)
    tokens = [await asyncio.to_thread(keystone.token, user, "home") for user in ("reader", "member", "manager")]
    for token in (*tokens, tokens[2], tokens[0]):
        await made.authenticate({"x-auth-token": token}, "req-1")
    validated = counters.registry.get_sample_value("wherry_token_validations_total", {"result": "valid"})
    # The first one had been forgotten for the third.
    assert validated == 4
    assert counters.registry.get_sample_value("wherry_token_validations_total", {"result": "kept"}) == 1
    await made.close()


async def test_a_keystone_that_hangs_blocks_neither_the_loop_nor_more_threads_than_it_may(keystone: keystones.Keystone) -> None:
    made, counters = make(
        keystone, validation_threads=3, validation_timeout_seconds=1, request_timeout_seconds=1, connect_retries=0, outage_pause_seconds=0.3
    )
    good = {"x-auth-token": await asyncio.to_thread(keystone.token, "reader", "home")}
    await made.authenticate(good, "req-0")
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    watching = asyncio.create_task(watch())
    with keystone.process.stopped():
        began = time.monotonic()
        waiting = [made.authenticate({"x-auth-token": f"unknown-{number}"}, "req-1") for number in range(500)]
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in ended} == {errors.IdentityUnavailable}
        assert time.monotonic() - began < 4
        assert keystone_threads() <= 3
        # Who is known is let in meanwhile, and who is not is told at once.
        assert (await made.authenticate(good, "req-2")).user_id == keystone.user_id("reader")
        began = time.monotonic()
        with pytest.raises(errors.IdentityUnavailable):
            await made.authenticate({"x-auth-token": "another"}, "req-3")
        assert time.monotonic() - began < 0.2
    watching.cancel()
    assert longest < 0.5
    not_asked = counters.registry.get_sample_value("wherry_token_validations_total", {"result": "not asked"})
    assert not_asked == 1

    async def knows() -> bool:
        try:
            await made.authenticate({"x-auth-token": "unknown-1"}, "req-4")
        except errors.IdentityUnavailable:
            return False
        except errors.Unauthenticated:
            return True
        return False

    deadline = time.monotonic() + conftest.WAIT_SECONDS
    while not await knows():
        assert time.monotonic() < deadline, "Keystone answers again and is not asked"
        await asyncio.sleep(0.05)
    await made.close()
    deadline = time.monotonic() + conftest.WAIT_SECONDS
    while keystone_threads():
        assert time.monotonic() < deadline, "threads are left behind"
        await asyncio.sleep(0.05)


async def test_too_many_waiting_tokens_are_refused_at_once(keystone: keystones.Keystone) -> None:
    made, _ = make(keystone, validation_threads=1, max_waiting_validations=4, validation_timeout_seconds=1, request_timeout_seconds=1)
    with keystone.process.stopped():
        waiting = [asyncio.create_task(made.authenticate({"x-auth-token": f"t-{number}"}, "req-1")) for number in range(8)]
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert len(done) == 3
        await asyncio.gather(*waiting, return_exceptions=True)
    await made.close()


async def test_one_who_goes_away_takes_the_answer_from_nobody(keystone: keystones.Keystone) -> None:
    made, counters = make(keystone)
    headers = {"x-auth-token": await asyncio.to_thread(keystone.token, "reader", "home")}
    with keystone.process.stopped():
        leaving = asyncio.create_task(made.authenticate(headers, "req-1"))
        staying = asyncio.create_task(made.authenticate(headers, "req-2"))
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.sleep(0.1)
    assert (await staying).user_id == keystone.user_id("reader")
    assert leaving.cancelled()
    assert counters.registry.get_sample_value("wherry_token_validations_total", {"result": "valid"}) == 1
    await made.close()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"password": "wrong"}, "own credentials"),
        ({"username": "reader", "project_name": "home"}, "give it the role service"),
        ({"region_name": "Elsewhere"}, "no endpoint of the identity service with interface internal, region Elsewhere"),
        ({"project_name": "nowhere"}, "own credentials"),
    ],
)
async def test_what_is_wrong_with_our_own_access_is_logged_and_not_told_to_callers(
    keystone: keystones.Keystone, options: dict[str, object], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = make(keystone, **options)
    token = await asyncio.to_thread(keystone.token, "member", "home")
    with pytest.raises(errors.IdentityUnavailable) as caught:
        await made.authenticate({"x-auth-token": token}, "req-1")
    assert "temporarily unavailable" in caught.value.message
    assert why in caplog.text
    assert keystones.PASSWORD not in caplog.text and token not in caplog.text
    await made.close()


def test_killed_and_back(cloud: conftest.Cloud) -> None:
    """Who was known is let in for the rest of the cache period; then 503 with what to do; then all is as before, over new connections."""
    token, other = cloud.keystone.token("reader", "home"), cloud.keystone.token("member", "home")
    assert cloud.code("/servers", token) == 200
    cloud.keystone.process.kill()
    assert cloud.code("/servers", token) == 200
    refused = cloud.send("GET", "/servers", other)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    message = refused.json()["serviceUnavailable"]["message"]
    assert message.startswith("The Keystone service is temporarily unavailable. Try again")
    assert refused.headers["x-openstack-request-id"] in message
    assert "127.0.0.1" not in message
    cloud.until(lambda: cloud.code("/servers", token) == 503, "the cache period to end")
    assert cloud.http.get("/v2.1").status_code == 200
    cloud.keystone.process.launch()
    cloud.keystone.process.wait()
    cloud.until(lambda: cloud.code("/servers", token) == 200, "Keystone to be asked again")
    assert cloud.code("/servers", other) == 200
