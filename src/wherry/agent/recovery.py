# SPDX-License-Identifier: Apache-2.0
"""What an agent does at its start about what went on without it: take up its transfers, and leave alone what is not its own.

Aborts nothing and starts nothing.
"""

from __future__ import annotations

from wherry import errors
from wherry.agent import parts as wherry_parts
from wherry.agent import source as wherry_source
from wherry.telemetry import logs

_log = logs.get_logger(__name__)


async def recover(parts: wherry_parts.Parts, source: wherry_source.Source) -> None:
    """Adopt every transfer that the journal knows and that has no end; name jobs that it does not know."""
    known = set()
    for entry in parts.journal.unfinished():
        if entry.transfer is not None:
            known.add(entry.instance_uuid)
            parts.background.spawn(source.adopt(entry), f"adopt {entry.operation_id}")
    try:
        guests = await parts.driver.describe_guests()
    except errors.Error as error:
        _log.warning("Jobs of others were not looked for", host=parts.host.name, slug=error.slug, error=error.message)
        return
    for one in guests:
        if one.active_job and one.uuid not in known and not one.is_incoming:
            _log.warning(
                "A guest has a job that is not ours and is left alone", host=parts.host.name, instance_uuid=one.uuid, job=one.active_job
            )
