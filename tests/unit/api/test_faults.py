# SPDX-License-Identifier: Apache-2.0
"""The mapping from errors to HTTP is total and blames the right side."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.api import faults
from wherry.errors import checks, running

ALL = sorted(errors.known_slugs().items())


def test_every_category_has_a_status() -> None:
    assert set(faults.STATUS_OF_CATEGORY) == set(errors.Category)


@pytest.mark.parametrize(("slug", "error"), ALL)
def test_every_error_has_an_answer(slug: str, error: type[errors.Error]) -> None:
    fault = faults.of_error(error())
    assert 400 <= fault.code <= 599
    ((name, content),) = faults.body(fault).items()
    assert content["code"] == fault.code
    assert name == faults.FAULT_NAMES.get(fault.code, "computeFault")
    assert faults.of_check(slug, "m", "").code in range(400, 600)


@pytest.mark.parametrize("slug", [*faults.STATUS_OF_SLUG, *faults.STATUS_OF_CHECK])
def test_no_table_names_an_error_that_is_gone(slug: str) -> None:
    assert slug in errors.known_slugs()


def test_trouble_between_our_own_processes_is_never_the_clients_fault() -> None:
    own = [error for error in errors.known_slugs().values() if error.__module__ == running.__name__]
    assert own
    # A lost race is told as one.
    blamed = {error.slug for error in own if faults.of_error(error()).code < 500} - {"stale_write"}
    assert blamed == set()


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.ServerNotFound(uuid="u"), 404, "itemNotFound"),
        (errors.InstanceLocked(uuid="u"), 409, "conflictingRequest"),
        (errors.DestinationNotFound(host="h"), 400, "badRequest"),
        (errors.Forbidden(rule="r"), 403, "forbidden"),
        (errors.Unauthenticated(), 401, "error"),
        (errors.DatabaseUnavailable(detail="d"), 503, "serviceUnavailable"),
        (errors.RpcTimeout(what="w", host="h", seconds=1), 500, "computeFault"),
        (errors.IllegalTransition(status="s", event="e"), 500, "computeFault"),
    ],
)
def test_statuses_as_the_contract_has_them(error: errors.Error, status: int, name: str) -> None:
    fault = faults.of_error(error)
    assert (fault.code, next(iter(faults.body(fault)))) == (status, name)


def test_failed_checks_are_400_to_a_client_that_waited_but_a_stopped_guest_is_409() -> None:
    for error in errors.known_slugs().values():
        if issubclass(error, checks.CheckFailed):
            assert faults.of_check(error.slug, "m", "").code == 400, error.slug
    assert faults.of_check(errors.GuestNotRunning.slug, "m", "").code == 409
    assert faults.of_check(errors.HypervisorUnavailable.slug, "m", "").code == 400
    assert faults.of_check("word_of_a_newer_conductor", "m", "").code == 500


def test_the_remedy_follows_the_message() -> None:
    fault = faults.of_error(errors.DestinationNotFound(host="h9"))
    assert fault.message == "Compute host h9 could not be found. Send the name of a host from os-services, or no host to let one be chosen."


def test_a_500_names_the_request_and_shows_no_traceback() -> None:
    fault = faults.unexpected(KeyError("secret"), "req-1")
    assert "req-1" in fault.message and "builtins.KeyError" in fault.message and "secret" not in fault.message
    assert "req-2" in faults.with_request_id(faults.HttpFault(500, "text"), "req-2").message
    assert faults.with_request_id(faults.HttpFault(404, "text"), "req-2").message == "text"
