# SPDX-License-Identifier: Apache-2.0
"""A real Glance as a process of its own, which can be killed.

Must not be imported by production code: it runs from the environment that scripts/setup makes beside a checkout.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import selectors
import shutil
import socket
import subprocess
import time
from typing import Any

import httpx

#: In the current directory, which is a checkout.
PYTHON = pathlib.Path(".venv.glance/bin/python")
START_SECONDS = 60.0

CONFIGURATION = """
[DEFAULT]
log_file = {directory}/glance.log
enabled_backends = files:file
[database]
connection = sqlite:///{directory}/glance.sqlite
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {directory}/store
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[paste_deploy]
flavor = keystone
[oslo_policy]
policy_file = {directory}/policy.yaml
[keystone_authtoken]
auth_type = password
auth_url = {keystone}
www_authenticate_uri = {keystone}
username = {user}
password = {password}
user_domain_name = Default
project_name = service
project_domain_name = Default
"""


def missing() -> str | None:
    """Say what is missing to run it, None when nothing is."""
    return None if PYTHON.exists() else "there is no .venv.glance; run WHERRY_SETUP_ALL=1 scripts/setup"


class Glance:
    """The process, with its database and images in a directory of its own.

    :param keystone: address of the Keystone that it believes.
    :param user: as whom it validates tokens there.
    """

    def __init__(self, directory: pathlib.Path, keystone: str, user: str, password: str) -> None:
        self._directory = directory
        for name in ("store", "staging", "tasks"):
            (directory / name).mkdir()
        (directory / "policy.yaml").write_text("{}\n")
        configuration = CONFIGURATION.format(directory=directory, keystone=keystone, user=user, password=password)
        (directory / "glance-api.conf").write_text(configuration)
        shutil.copy(PYTHON.parent.parent / "etc" / "glance" / "glance-api-paste.ini", directory)
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=30.0)

    def start(self) -> None:
        """Start it and wait until it answers."""
        serve = pathlib.Path(__file__).parent.absolute() / "serve.py"
        environ = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(self._directory)}
        descriptor = self._listener.fileno()
        with (self._directory / "stdout").open("ab") as log:
            # The command that a new installation gets, which cannot share a process with what serves.
            manage = [str(PYTHON.absolute().parent / "glance-manage"), "--config-file", f"{self._directory}/glance-api.conf", "db_sync"]
            subprocess.run(manage, stdout=log, stderr=log, check=True, timeout=START_SECONDS)
            command = [str(PYTHON.absolute()), "-P", str(serve), str(descriptor)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, pass_fds=[descriptor])
        deadline = time.monotonic() + START_SECONDS
        pause = selectors.DefaultSelector()
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if self.http.get("/", timeout=2.0).status_code == httpx.codes.MULTIPLE_CHOICES:
                    break
            assert self._process.poll() is None, (self._directory / "stdout").read_text()[-4000:]
            assert time.monotonic() < deadline, f"Glance did not answer within {START_SECONDS:g} s"
            pause.select(0.05)
        # While ours is open too, connections to a dead Glance would not be refused.
        self._listener.close()

    def kill(self) -> None:
        """End it as a power failure does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._listener.close()
        self.http.close()

    def add(self, token: str, content: bytes, **fields: Any) -> str:
        """Make an image as whom the token is."""
        known = {"name": "tiny", "disk_format": "raw", "container_format": "bare", **fields}
        made = self.http.post("/v2/images", json=known, headers={"X-Auth-Token": token})
        assert made.status_code == httpx.codes.CREATED, made.text
        image_id = str(made.json()["id"])
        headers = {"X-Auth-Token": token, "Content-Type": "application/octet-stream"}
        sent = self.http.put(f"/v2/images/{image_id}/file", content=content, headers=headers)
        assert sent.status_code == httpx.codes.NO_CONTENT, sent.text
        return image_id
