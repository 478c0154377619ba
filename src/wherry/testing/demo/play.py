# SPDX-License-Identifier: Apache-2.0
"""Plays the story on a site: starts Wherry for it, tells all three acts, and says whether every claim held."""

from __future__ import annotations

from wherry.testing.demo import api, errors, process, show, site, story


def play(stage: show.Show, place: site.Site, workplace: process.Workplace) -> int:
    """Return 0 if every claim held, else 1, with the end of Wherry's log printed.

    :raises DemoFailed: it could not go on; the message has the end of the log.
    """
    stage.heading("Wherry: live migration through the Compute API")
    for line in place.describe():
        stage.line(line)
    with process.AllInOne(workplace, place.configuration()) as wherry, api.ComputeApi(wherry.url) as client:
        stage.line(f"{'wherry':<8} {' '.join(('wherry', *wherry.command_line[1:]))}: answers after {wherry.start_seconds:.1f} s")
        told = story.Story(client, stage, place)
        try:
            servers = told.wait_for_servers()
            told.move(servers[place.calm])
            told.abort(servers[place.busy])
            told.force(servers[place.busy])
        except errors.DemoFailed as problem:
            raise errors.DemoFailed(f"{problem}\nthe end of Wherry's log:\n{workplace.log_tail()}") from None
    if stage.broken:
        stage.heading(f"{len(stage.broken)} of {stage.claims} claims did NOT hold. The end of Wherry's log:")
        for line in workplace.log_tail().splitlines():
            stage.line(line)
        return 1
    return 0
