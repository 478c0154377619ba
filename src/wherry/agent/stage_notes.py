# SPDX-License-Identifier: Apache-2.0
"""Where the agent's stages are noted: in the journal's entry and the log. The conductor writes the event rows.

Writes no file of its own: the note goes to disk with the entry's next change.
"""

from __future__ import annotations

from wherry.agent import parts as wherry_parts
from wherry.model import instance_actions
from wherry.rpc import messages
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


class StageNotes:
    """The agent's sink for `wrap_instance_event`."""

    def __init__(self, parts: wherry_parts.Parts) -> None:
        self._parts = parts

    async def started(self, name: instance_actions.EventName, message: messages.AboutOperation) -> None:
        self._note(message, name, "started")
        _log.info("A stage has started", stage=name.value, migration_id=message.operation_id, host=self._parts.host.name)

    async def finished(
        self, name: instance_actions.EventName, message: messages.AboutOperation, outcome: instance_actions.EventOutcome
    ) -> None:
        self._note(message, name, outcome.result.value)
        _log.info(
            "A stage has ended",
            stage=name.value,
            migration_id=message.operation_id,
            host=self._parts.host.name,
            result=outcome.result.value,
            details=outcome.details,
        )

    def _note(self, message: messages.AboutOperation, name: instance_actions.EventName, text: str) -> None:
        entry = self._parts.journal.find(message.operation_id)
        if entry is not None:
            entry.stages[name.value] = text
