# SPDX-License-Identifier: Apache-2.0
"""Runs released command line clients: in this process through the function that their scripts call, or as processes.

In this process the code is the same, only Python does not start anew for each command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

PROCESS_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What a command left behind."""

    words: tuple[str, ...]
    status: int
    out: str
    error: str

    def __str__(self) -> str:
        return f"{' '.join(self.words)} -> {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.error}"


class Client:
    """One client with one way to log in.

    :param main: what its script calls; gives the exit status or raises SystemExit.
    :param program: the script's name beside this Python.
    """

    def __init__(self, program: str, main: Callable[[list[str]], int | None], environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self._program = program
        self._main = main

    def run(self, *words: str, status: int | None = 0) -> Output:
        """Run a command in this process; it must end with this status, None allows any but 0."""
        out, error = io.StringIO(), io.StringIO()
        with (
            _as_process(self._environ()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            mock.patch("sys.stdin", io.StringIO()),
        ):
            ended = self._call(list(words))
        return self._judge(Output(words=(self._program, *words), status=ended, out=out.getvalue(), error=error.getvalue()), status)

    def process(self, *words: str, status: int | None = 0) -> Output:
        """Run a command as a process."""
        program = pathlib.Path(sys.executable).parent / self._program
        ended = subprocess.run([program, *words], env=self._environ(), capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False)
        return self._judge(Output(words=(self._program, *words), status=ended.returncode, out=ended.stdout, error=ended.stderr), status)

    def json(self, *words: str, status: int | None = 0) -> Any:
        """Run a command that can print JSON, and read it."""
        return json.loads(self.run(*words, "-f", "json", status=status).out)

    def _call(self, words: list[str]) -> int:
        try:
            return self._main(words) or 0
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(bool(end.code))

    def _judge(self, output: Output, status: int | None) -> Output:
        assert output.status == status if status is not None else output.status != 0, str(output)
        assert "Traceback" not in output.error, str(output)
        return output

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        # No clouds.yaml of this machine's, and lines as wide as they come.
        return kept | {"OS_CLIENT_CONFIG_FILE": os.devnull, "COLUMNS": "400"} | self.environ


@contextlib.contextmanager
def _as_process(environ: Mapping[str, str]) -> Iterator[None]:
    """Give a client what a process gives it: an environment, warnings that only print, a root logger of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # The environment is the foreign edge here.
    with mock.patch.dict(os.environ, environ, clear=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.handlers = []
        try:
            yield
        finally:
            root.handlers = handlers
            root.setLevel(level)


def openstack(environ: Mapping[str, str]) -> Client:
    """Give python-openstackclient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openstackclient import shell
        from osc_lib import clientmanager

    def main(words: list[str]) -> int | None:
        # A handle is kept by the class: without this, every command in this process would go on as whoever came first.
        for descriptor in vars(clientmanager.ClientManager).values():
            if hasattr(descriptor, "_handle"):
                descriptor._handle = None
        ended: int | None = shell.main(words)
        return ended

    return Client("openstack", main, environ)


def nova(environ: Mapping[str, str]) -> Client:
    """Give novaclient's command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from novaclient import shell

    def main(words: list[str]) -> int:
        shell.main(words)
        return 0

    return Client("nova", main, environ)


def novaclient(version: str, session: Any) -> Any:
    """Give novaclient as a library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from novaclient import client

        return client.Client(version, session=session)


def nova_version(version: str) -> Any:
    """Give a version as novaclient holds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from novaclient import api_versions

        return api_versions.APIVersion(version)
