# SPDX-License-Identifier: Apache-2.0
"""Validations of tokens: kept for a while, asked for once however many wait, in a bounded pool, and not at all during an outage.

Judges nobody: what a valid token lets its bearer do is not known here.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import dataclasses
import hashlib

from wherry import clock as clocks
from wherry import config, errors
from wherry.auth import identity_service
from wherry.telemetry import logs
from wherry.telemetry import metrics as wherry_metrics

_log = logs.get_logger(__name__)

#: Hash of a token, and whether it may have expired: no token lies about in memory.
_Key = tuple[bytes, bool]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    #: None: it was refused.
    facts: identity_service.TokenFacts | None
    #: On the monotonic clock.
    until: float


class Validations:
    """What Keystone says of tokens, asked no more than need be.

    :param service: its threads are ours; nobody else calls it
    """

    def __init__(
        self,
        section: config.KeystoneSection,
        service: identity_service.IdentityService,
        clock: clocks.Clock,
        metrics: wherry_metrics.Metrics | None = None,
    ) -> None:
        self._section = section
        self._service = service
        self._clock = clock
        self._metrics = metrics
        self._kept: collections.OrderedDict[_Key, _Kept] = collections.OrderedDict()
        self._asking: dict[_Key, asyncio.Task[identity_service.TokenFacts | None]] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(section.validation_threads, thread_name_prefix="keystone")
        self._most_asking = section.validation_threads + section.max_waiting_validations
        #: While Keystone cannot be asked: when it may be tried again, by one request at a time. Read in threads too.
        self._retry_at: float | None = None
        self._is_probing = False

    async def of(self, token: str, *, may_be_expired: bool = False) -> identity_service.TokenFacts | None:
        """Give what Keystone says of a token, None when it does not take it.

        :raises IdentityUnavailable: when Keystone does not say, or too many wait for it
        """
        key = hashlib.sha256(token.encode()).digest(), may_be_expired
        kept = self._kept.get(key)
        if kept is not None and kept.until > self._clock.monotonic():
            self._kept.move_to_end(key)
            self._count("kept")
            return kept.facts
        task = self._asking.get(key)
        if task is None:
            task = self._begin(key, token, may_be_expired)
        # One who goes away does not take the answer from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ask nothing more. A thread that is still waiting for an answer ends with its time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._service.close()

    def _begin(self, key: _Key, token: str, may_be_expired: bool) -> asyncio.Task[identity_service.TokenFacts | None]:
        if self._retry_at is not None and (self._is_probing or self._clock.monotonic() < self._retry_at):
            self._count("not asked")
            raise errors.IdentityUnavailable()
        if len(self._asking) >= self._most_asking:
            self._count("not asked")
            _log.warning("Too many tokens wait to be validated", action="auth.overloaded", waiting=len(self._asking))
            raise errors.IdentityUnavailable()
        is_probe = self._is_probing = self._retry_at is not None
        task = asyncio.create_task(self._ask(key, token, may_be_expired=may_be_expired, is_probe=is_probe), name="validate-token")
        self._asking[key] = task
        task.add_done_callback(lambda ended: self._end(key, ended, is_probe=is_probe))
        return task

    def _end(self, key: _Key, task: asyncio.Task[identity_service.TokenFacts | None], *, is_probe: bool) -> None:
        self._asking.pop(key, None)
        if is_probe:
            self._is_probing = False
        if not task.cancelled():
            # All who waited may have gone away; then nobody else would look at it.
            task.exception()

    async def _ask(self, key: _Key, token: str, *, may_be_expired: bool, is_probe: bool) -> identity_service.TokenFacts | None:
        def work() -> identity_service.TokenFacts | None:
            # What still waited for a thread when the outage began is not tried one by one.
            if self._retry_at is not None and not is_probe:
                raise identity_service.Unanswered("others have just found that it cannot be asked")
            return self._service.validate(token, may_be_expired=may_be_expired)

        seconds = self._section.validation_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                facts = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError:
            self._failed(f"it did not answer within {seconds:g} s")
            raise errors.IdentityUnavailable() from None
        except identity_service.Unanswered as error:
            self._failed(str(error))
            raise errors.IdentityUnavailable() from error
        self._answered(key, facts)
        return facts

    def _answered(self, key: _Key, facts: identity_service.TokenFacts | None) -> None:
        self._count("valid" if facts else "refused")
        if self._retry_at is not None:
            self._retry_at = None
            _log.info("Keystone can be asked again", action="auth.restored")
        kept_seconds = self._section.token_cache_seconds if facts else self._section.refused_token_cache_seconds
        self._kept[key] = _Kept(facts=facts, until=self._clock.monotonic() + kept_seconds)
        self._kept.move_to_end(key)
        if len(self._kept) > self._section.token_cache_size:
            self._kept.popitem(last=False)

    def _failed(self, why: str) -> None:
        self._count("unanswered")
        if self._retry_at is None:
            _log.error("Keystone cannot be asked", action="auth.unavailable", auth_url=self._section.auth_url, reason=why)
        self._retry_at = self._clock.monotonic() + self._section.outage_pause_seconds

    def _count(self, result: str) -> None:
        if self._metrics is not None:
            self._metrics.token_validations.labels(result=result).inc()
