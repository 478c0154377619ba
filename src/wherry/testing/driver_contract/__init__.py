# SPDX-License-Identifier: Apache-2.0
"""The contract suite: every driver passes it unchanged, and no test in it knows which driver it tries.

A binding is a `Harness` and a test class that inherits `DriverContract` and has an asynchronous fixture `harness`.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{module}"
        for module in ("checking", "describing", "failing", "making", "powering", "relocating", "stopping", "transferring", "harness")
    )
)

# The rewriting comes first, so that a failed assertion in the suite shows what it compared.
from wherry.testing.driver_contract.checking import CheckingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.describing import DescribingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.failing import FailingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.harness import GuestWish, Harness, Load, Recorder, Storage  # noqa: E402 (as said above)
from wherry.testing.driver_contract.making import MakingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.move import Move  # noqa: E402 (as said above)
from wherry.testing.driver_contract.powering import PoweringContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.relocating import RelocatingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.stopping import StoppingContract  # noqa: E402 (as said above)
from wherry.testing.driver_contract.transferring import TransferringContract  # noqa: E402 (as said above)

__all__ = ["DriverContract", "GuestWish", "Harness", "Load", "Move", "Recorder", "Storage"]


class DriverContract(
    DescribingContract,
    CheckingContract,
    TransferringContract,
    StoppingContract,
    PoweringContract,
    RelocatingContract,
    MakingContract,
    FailingContract,
):
    """The whole suite, to be inherited by a test class with a fixture `harness`."""
