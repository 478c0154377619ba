# SPDX-License-Identifier: Apache-2.0
"""The steps of each kind of operation, each with check, execute and undo. A step's answer names the step that follows it."""

from __future__ import annotations

from collections.abc import Mapping

from wherry.conductor.steps import (
    admit,
    base,
    begin,
    build,
    change_power,
    check_destination,
    check_source,
    choose_host,
    destroy,
    finish,
    prepare,
    roll_back,
    select_destination,
    settle,
    shut_down,
    take_back,
    transfer,
)
from wherry.conductor.steps.cold import begin as cold_begin
from wherry.conductor.steps.cold import check_destination as cold_check_destination
from wherry.conductor.steps.cold import check_return, confirm, discard, move, restore, stop_destination
from wherry.conductor.steps.cold import check_source as cold_check_source
from wherry.conductor.steps.cold import finish as cold_finish
from wherry.conductor.steps.cold import prepare as cold_prepare
from wherry.conductor.steps.cold import roll_back as cold_roll_back
from wherry.conductor.steps.cold import select_destination as cold_select
from wherry.conductor.steps.cold import shut_down as cold_shut_down
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
_BUILD: tuple[base.Step, ...] = (choose_host.BeginBuild(), choose_host.ChooseHost(), build.Build(), take_back.TakeBack())
_DELETE: tuple[base.Step, ...] = (destroy.BeginDeletion(), destroy.Destroy())

_COLD_MIGRATION: tuple[base.Step, ...] = (
    cold_select.SelectDestination(),
    cold_check_destination.CheckDestination(),
    cold_check_source.CheckSource(),
    cold_prepare.Prepare(),
    cold_shut_down.ShutDown(),
    move.Move(),
    cold_finish.Finish(),
    cold_roll_back.RollBack(),
)
_CONFIRM_RESIZE: tuple[base.Step, ...] = (cold_begin.BeginConfirm(), confirm.Confirm())
_REVERT_RESIZE: tuple[base.Step, ...] = (
    cold_begin.BeginRevert(),
    check_return.CheckReturn(),
    cold_shut_down.ShutDownAtDestination(),
    stop_destination.StopDestination(),
    restore.Restore(),
    discard.Discard(),
)

STEPS: Mapping[operation.OperationKind, Mapping[operation.StepName, base.Step]] = {
    operation.OperationKind.LIVE_MIGRATION: {step.name: step for step in _LIVE_MIGRATION},
    operation.OperationKind.POWER: {step.name: step for step in _POWER},
    operation.OperationKind.COLD_MIGRATION: {step.name: step for step in _COLD_MIGRATION},
    operation.OperationKind.CONFIRM_RESIZE: {step.name: step for step in _CONFIRM_RESIZE},
    operation.OperationKind.REVERT_RESIZE: {step.name: step for step in _REVERT_RESIZE},
    operation.OperationKind.BUILD: {step.name: step for step in _BUILD},
    operation.OperationKind.DELETE: {step.name: step for step in _DELETE},
}
