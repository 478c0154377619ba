# SPDX-License-Identifier: Apache-2.0
"""The steps of a live migration, each with check, execute and undo. A step's answer names the step that follows it."""

from __future__ import annotations

from collections.abc import Mapping

from wherry.conductor.steps import (
    admit,
    base,
    check_destination,
    check_source,
    finish,
    prepare,
    roll_back,
    select_destination,
    settle,
    transfer,
)
from wherry.model import operation

STEPS: Mapping[operation.StepName, base.Step] = {
    step.name: step
    for step in (
        select_destination.SelectDestination(),
        check_destination.CheckDestination(),
        check_source.CheckSource(),
        admit.Admit(),
        prepare.Prepare(),
        transfer.Transfer(),
        settle.Settle(),
        finish.Finish(),
        roll_back.RollBack(),
    )
}
