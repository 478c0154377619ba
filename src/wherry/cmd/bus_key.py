# SPDX-License-Identifier: Apache-2.0
"""`wherry bus-key`: make the key that a process logs in at the bus with. Keeps it from everybody but the file's owner."""

from __future__ import annotations

import argparse
import os

from wherry import errors


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what may be asked for."""
    parser.add_argument("file", metavar="FILE", help="a new file for the seed, which [bus] nkey_seed_file then names")


def run(arguments: argparse.Namespace) -> int:
    """Write the seed and print the public key.

    :raises ConfigInvalid: there is such a file, or it cannot be written.
    """
    from wherry.rpc.transports.nats import keys

    seed = keys.make_seed()
    try:
        descriptor = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(seed + "\n")
    except OSError as error:
        raise errors.ConfigInvalid(
            where="bus-key", problem=f"{arguments.file} cannot be made: {error.strerror}", instead="Name a file that is not there yet."
        ) from error
    print(keys.public_key(seed))
    return 0
