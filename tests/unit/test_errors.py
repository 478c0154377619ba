# SPDX-License-Identifier: Apache-2.0
"""Errors keep their slug and fields across the bus, and never fail to be told."""

from __future__ import annotations

import string

import pytest

from wherry import errors


@pytest.mark.parametrize("slug", sorted(errors.known_slugs()))
def test_every_error_survives_the_bus(slug: str) -> None:
    """Slug, fields and message come back as they were."""
    cls = errors.known_slugs()[slug]
    places = {name for text in (cls.template, cls.remedy_template) for _, name, _, _ in string.Formatter().parse(text) if name}
    error = cls(**{name: f"<{name}>" for name in places})
    rebuilt = errors.from_wire(error.to_wire())
    assert type(rebuilt) is cls
    assert (rebuilt.message, rebuilt.remedy, rebuilt.fields) == (error.message, error.remedy, error.fields)
    for name in places:
        assert f"<{name}>" in error.message + error.remedy


def test_an_unknown_slug_of_a_newer_peer_is_still_told() -> None:
    """A release that does not know an error passes on what it said."""
    error = errors.from_wire({"slug": "from_the_future", "fields": {"detail": "tachyons"}})
    assert isinstance(error, errors.RemoteFailure)
    assert "from_the_future" in error.message
    assert "tachyons" in error.message


def test_a_missing_field_shows_as_its_name() -> None:
    """A mistake in raising an error does not hide the error."""
    assert "<host>" in errors.HostUnreachable().message


def test_a_slug_belongs_to_one_class() -> None:
    """Reusing a slug is an error where the class is written."""
    with pytest.raises(TypeError, match="server_not_found"):
        type("Impostor", (errors.Error,), {"slug": "server_not_found"})


def test_every_check_says_what_to_do() -> None:
    """A refused request is told what to send or change instead."""
    silent = {
        cls.slug
        for cls in errors.known_slugs().values()
        if issubclass(cls, errors.CheckFailed) and not cls.remedy_template and not cls.__subclasses__()
    }
    assert silent == set()
