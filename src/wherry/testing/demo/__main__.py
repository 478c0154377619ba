# SPDX-License-Identifier: Apache-2.0
"""Runs the demo from start to clean-up. Ends with 0 only if every claim that was printed was found true."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import types
import typing
from collections.abc import Iterator, Sequence

from wherry.testing import lab as labs
from wherry.testing.demo import api, errors, pretended, process, real, show, site, story

WORKPLACE = "wherry-demo"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end. Not an Exception, so that nothing takes it for a failure and goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m wherry.testing.demo", description=__doc__)
    parser.add_argument("--driver", choices=("auto", "libvirt", "simulated"), default="auto", help="auto: real guests where possible")
    options = parser.parse_args(argv)
    _raise_on_signals()
    try:
        return _run(options.driver)
    except (errors.DemoFailed, labs.LabError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"\ndemo: ended by {signal.Signals(interrupted.number).name}; everything is cleaned up", file=sys.stderr)
        return 128 + interrupted.number


def _run(driver: str) -> int:
    stage = show.Show()
    with process.Workplace(WORKPLACE) as workplace, _site(driver, stage) as place:
        stage.heading("Wherry: live migration through the Compute API")
        for line in place.describe():
            stage.line(line)
        with process.AllInOne(workplace, place.configuration()) as wherry, api.ComputeApi(wherry.url) as client:
            stage.line(f"{'wherry':<8} {' '.join(('wherry', *wherry.command_line[1:]))}: answers after {wherry.start_seconds:.1f} s")
            told = story.Story(client, stage, place)
            servers = told.wait_for_servers()
            try:
                told.move(servers[place.calm])
                told.abort(servers[place.busy])
            except errors.DemoFailed as problem:
                raise errors.DemoFailed(f"{problem}\nthe end of Wherry's log:\n{workplace.log_tail()}") from None
        if stage.broken:
            stage.heading(f"{len(stage.broken)} of {stage.claims} claims did NOT hold; the end of Wherry's log:")
            print(workplace.log_tail())
            return 1
    stage.heading(f"All {stage.claims} claims were checked and hold. Cleaned up.")
    return 0


@contextlib.contextmanager
def _site(driver: str, stage: show.Show) -> Iterator[site.Site]:
    """Give a site with real guests where that is possible and wanted, else a simulated one."""
    lab = labs.Lab(real.LAB_NAME, host_count=real.HOST_COUNT)
    if os.geteuid() == 0:
        # What a crashed demo left goes, also where this one will not need a lab.
        lab.down()
    reason = "--driver simulated" if driver == "simulated" else _bring_up(lab)
    if not reason:
        try:
            yield real.RealSite(lab)
        finally:
            _ignore_signals()
            lab.down()
        return
    if driver == "libvirt" or os.environ.get("WHERRY_REQUIRE_REAL") == "1":
        raise errors.DemoFailed(f"no real guests here: {reason}")
    stage.line(f"no real guests here: {reason}. The same on the simulated driver:")
    yield pretended.PretendedSite()


def _bring_up(lab: labs.Lab) -> str:
    """Bring the lab up; say in one line why there can be none."""
    if reason := real.why_unavailable():
        return reason
    try:
        lab.up()
    except labs.LabUnavailable as problem:
        return str(problem)
    return ""


def _raise_on_signals() -> None:
    """Let the first signal end the demo in order; later ones must not end the clean-up."""

    def interrupt(number: int, _frame: types.FrameType | None) -> typing.NoReturn:
        _ignore_signals()
        raise Interrupted(number)

    for each in _SIGNALS:
        signal.signal(each, interrupt)


def _ignore_signals() -> None:
    """Ignore them from here on; programs that are started now do so too, as the lab's own for its clean-up must."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
