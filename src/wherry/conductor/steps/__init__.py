# SPDX-License-Identifier: Apache-2.0
"""The steps of each kind of operation, each with check, execute and undo. A step's answer names the step that follows it."""

from __future__ import annotations

from collections.abc import Mapping

from wherry.conductor.steps import (
    admit,
    base,
    begin,
    change_power,
    check_destination,
    check_source,
    finish,
    prepare,
    roll_back,
    select_destination,
    settle,
    shut_down,
    transfer,
)
from wherry.model import operation

_LIVE_MIGRATION: tuple[base.Step, ...] = (
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
_POWER: tuple[base.Step, ...] = (begin.Begin(), shut_down.ShutDown(), change_power.ChangePower())

STEPS: Mapping[operation.OperationKind, Mapping[operation.StepName, base.Step]] = {
    operation.OperationKind.LIVE_MIGRATION: {step.name: step for step in _LIVE_MIGRATION},
    operation.OperationKind.POWER: {step.name: step for step in _POWER},
}
