# SPDX-License-Identifier: Apache-2.0
"""[bus]: addresses that cannot be meant, halves of a login or a certificate. No message repeats an address, which may hold a password."""

from __future__ import annotations

from typing import Any

import pytest

from wherry import config, errors

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("urls", [(), "memory://", "nats://a:4222", "nats://a, tls://b.example.org:4222", "nats://[::1]:4222/"])
def test_what_names_a_bus(urls: Any) -> None:
    section = config.load([], {}, {"bus": {"transport_url": urls}} if urls else {}).bus
    assert section.is_in_memory is (urls in ((), "memory://"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transport_url": "a:4222"}, "every address is nats://HOST:PORT or tls://HOST:PORT"),
        ({"transport_url": "rabbit://secret@a"}, "every address is"),
        ({"transport_url": "nats://"}, "every address is"),
        ({"transport_url": "nats://a:0"}, "every address is"),
        ({"transport_url": "nats://a:secret"}, "an address cannot be read"),
        ({"transport_url": "nats://me:secret@a:4222"}, "put user and password into the options of these names"),
        ({"transport_url": "nats://a:4222/secret"}, "an address goes on after HOST:PORT"),
        ({"transport_url": "nats://a,memory://"}, "memory:// stands alone"),
        ({"user": "me"}, "user and password belong together"),
        ({"password": "secret"}, "user and password belong together"),
        ({"tls_key_file": "/key"}, "set tls_certificate_file too"),
        ({"reconnect_initial_seconds": 9.0}, "reconnect_max_seconds is shorter"),
    ],
)
def test_what_cannot_be_meant(options: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.ConfigInvalid) as caught:
        config.load([], {}, {"bus": options})
    assert said in caught.value.message
    assert "secret" not in caught.value.message
