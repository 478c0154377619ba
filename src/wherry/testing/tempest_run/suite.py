# SPDX-License-Identifier: Apache-2.0
"""tempest as a program, from its own environment: lists tests, runs some of them, gives what became of each.

Must not choose tests: it is told.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Callable, Sequence

from wherry.testing.tempest_run import cases

#: In the current directory, which is a checkout.
ENVIRONMENT = pathlib.Path(".venv.tempest")
#: For what runs no test.
CALL_TIMEOUT_SECONDS = 120.0

_CONVERTER = pathlib.Path(__file__).with_name("subunit_cases.py").absolute()


class SuiteFailed(Exception):
    """tempest did not get as far as running tests; the message is for a person."""


def missing() -> str | None:
    """Say what is missing to run it, None when nothing is."""
    return None if (ENVIRONMENT / "bin" / "tempest").exists() else "there is no .venv.tempest; run scripts/setup"


class Suite:
    """tempest with a configuration, in a directory of its own."""

    def __init__(self, directory: pathlib.Path, configuration: str) -> None:
        self._directory = directory
        self._programs = ENVIRONMENT.absolute() / "bin"
        self._config_file = directory / "tempest.conf"
        self._config_file.write_text(configuration)

    def list_ids(self, pattern: str) -> list[str]:
        """Name the tests that match, with their attributes, in tempest's order."""
        # The first one that is called writes .stestr.conf and then wants this to have been done.
        (self._directory / ".stestr.conf").write_text(self._stestr_configuration())
        self._call("stestr", "init")
        listed = self._call("tempest", *self._run(), "--list-tests", "--regex", pattern).decode()
        # What its libraries warn of comes out here too.
        return [line for line in listed.splitlines() if line and " " not in line]

    def run(self, ids: Sequence[str], workers: int, tell: Callable[[str], None]) -> list[cases.Case]:
        """Run these tests, whatever becomes of each.

        :param tell: is told tempest's line of each test as it ends.
        :raises SuiteFailed: when none was run.
        """
        chosen = self._directory / "chosen"
        chosen.write_text("".join(f"{test_id}\n" for test_id in ids))
        command = [str(self._programs / "tempest"), *self._run(), "--load-list", str(chosen), "--concurrency", str(workers)]
        output = self._directory / "tempest.out"
        with (
            output.open("w") as copy,
            subprocess.Popen(
                command, cwd=self._directory, env=self._environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    copy.write(line)
                    tell(line.rstrip())
            except BaseException:
                process.kill()
                raise
        converter = (str(self._programs / "python"), "-P", str(_CONVERTER))
        stream = self._call("stestr", "last", "--subunit", is_checked=False)
        lines = subprocess.run(
            converter, input=stream, stdout=subprocess.PIPE, check=True, timeout=CALL_TIMEOUT_SECONDS
        ).stdout.splitlines()
        if not lines:
            raise SuiteFailed(f"tempest ran no test; see {output}")
        return cases.read([json.loads(line) for line in lines], [cases.plain(test_id) for test_id in ids])

    def _run(self) -> tuple[str, ...]:
        return ("run", "--config-file", str(self._config_file))

    def _stestr_configuration(self) -> str:
        package = next(ENVIRONMENT.absolute().glob("lib/python*/site-packages/tempest"))
        # One class is one group: its tests share what its set-up made.
        return f"[DEFAULT]\ntest_path={package}/test_discover\ntop_dir={package}\ngroup_regex=([^\\.]*\\.)*\n"

    def _call(self, program: str, *words: str, is_checked: bool = True) -> bytes:
        done = subprocess.run(
            [str(self._programs / program), *words],
            cwd=self._directory,
            env=self._environ(),
            capture_output=True,
            timeout=CALL_TIMEOUT_SECONDS,
            check=False,
        )
        if is_checked and done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace")[-2000:]
            raise SuiteFailed(f"{program} {' '.join(words)} ended with {done.returncode}: {said}")
        return done.stdout

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "TEMPEST_", "PYTHON"))}
        # Workers are started as `stestr`, `python`.
        return kept | {"PATH": f"{self._programs}:{kept.get('PATH', os.defpath)}", "VIRTUAL_ENV": str(ENVIRONMENT.absolute())}
