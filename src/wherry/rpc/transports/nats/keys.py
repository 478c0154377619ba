# SPDX-License-Identifier: Apache-2.0
"""Keys that processes log in with in place of passwords: made, and read from files. Says none of them to anybody."""

from __future__ import annotations

import base64
import os
import pathlib
import re

import nkeys

from wherry import errors

_RAW_SEED_BYTES = 32
#: As nsc writes it. What is around the two blocks is for people.
_JWT = re.compile(r"BEGIN NATS USER JWT-+\s+(?P<jwt>\S+)\s+-+END NATS USER JWT")
_SEED = re.compile(r"BEGIN USER NKEY SEED-+\s+(?P<seed>\S+)\s+-+END USER NKEY SEED")


def make_seed() -> str:
    """Make the seed of a new user's key."""
    seed: bytes = nkeys.encode_seed(os.urandom(_RAW_SEED_BYTES), nkeys.PREFIX_BYTE_USER)
    return seed.decode()


def public_key(seed: str) -> str:
    """Give what a server knows of a key.

    :raises ValueError: it is no seed of a user's key. Does not repeat it.
    """
    try:
        key: bytes = nkeys.from_seed(bytearray(seed.encode())).public_key
        _require_whole(seed)
    # What is no base32, or too short, gets as far as binascii and nacl.
    except (nkeys.NkeysError, ValueError, TypeError, IndexError) as error:
        raise ValueError("it is no seed of a key") from error
    if not key.startswith(b"U"):
        raise ValueError("it is the seed of a key that is not a user's")
    return key.decode()


def _require_whole(seed: str) -> None:
    # nkeys 0.2 does not compare the checksum, so that a mistyped seed would be another key.
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    if nkeys.crc16_checksum(raw[:-2]) != raw[-2:]:
        raise ValueError("it is mistyped")


def read_seed(path: str) -> str:
    """Read a file that has a seed and nothing else.

    :raises ConfigInvalid: it cannot be used.
    """
    option, wanted = "nkey_seed_file", "a file that wherry bus-key has made, readable by this user"
    seed = _text(option, path, wanted).strip()
    _require_seed(option, path, seed, wanted)
    return seed


def read_credentials(path: str) -> str:
    """Read a .creds file, and give it without what is around its two blocks.

    :raises ConfigInvalid: it cannot be used.
    """
    option, wanted = "credentials_file", "a file with a user's JWT and key as nsc writes it, readable by this user"
    text = _text(option, path, wanted)
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise _unusable(option, path, f"it has no {'user JWT' if jwt is None else 'key'}", wanted)
    _require_seed(option, path, seed["seed"], wanted)
    # nats-py reads these lines by their beginnings.
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt['jwt']}\n------END NATS USER JWT------\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed['seed']}\n------END USER NKEY SEED------\n"
    )


def _text(option: str, path: str, wanted: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise _unusable(option, path, error.strerror or str(error), wanted) from error
    except UnicodeDecodeError as error:
        raise _unusable(option, path, "it is no text", wanted) from error


def _require_seed(option: str, path: str, seed: str, wanted: str) -> None:
    try:
        public_key(seed)
    except ValueError as error:
        raise _unusable(option, path, str(error), wanted) from error


def _unusable(option: str, path: str, reason: str, wanted: str) -> errors.ConfigInvalid:
    return errors.ConfigInvalid(where=f"[bus] {option}", problem=f"{path} cannot be used: {reason}", instead=f"Name {wanted}.")
