# SPDX-License-Identifier: Apache-2.0
"""A Keystone that lets everybody in and an image service with the words of Glance's API v2, over real HTTP, which fails as a test wants.

Good health is tested with a real one: test_real_glance.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

from wherry import config


@dataclasses.dataclass
class Service:
    """What it has, and how it behaves."""

    url: str = ""
    rows: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    contents: dict[str, bytes] = dataclasses.field(default_factory=dict)
    #: Paths asked below the image endpoint, and with which token.
    asked: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    status: int = 200
    #: Bytes of a file after which the connection is cut; None for none.
    cut_after: int | None = None
    #: Files wait for it before their last byte.
    may_end: threading.Event = dataclasses.field(default_factory=threading.Event)
    #: Set once all but that has been sent.
    is_waiting: threading.Event = dataclasses.field(default_factory=threading.Event)
    page: int = 1000
    #: Tokens that see private images.
    seeing: set[str] = dataclasses.field(default_factory=lambda: {"ours"})

    def add(self, content: bytes, **fields: Any) -> str:
        """Have an image."""
        image_id = str(uuid.uuid4())
        known = {
            "id": image_id,
            "name": "tiny",
            "status": "active",
            "visibility": "public",
            "container_format": "bare",
            "disk_format": "raw",
            "size": len(content),
            "virtual_size": None,
            "checksum": hashlib.md5(content).hexdigest(),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(content).hexdigest(),
            "min_disk": 0,
            "min_ram": 64,
            "owner": "somebody",
            "tags": [],
            "os_distro": "debian",
            "created_at": "2030-01-01T00:00:00Z",
            "updated_at": "2030-01-01T00:00:00Z",
            "self": f"/v2/images/{image_id}",
        }
        self.rows[image_id], self.contents[image_id] = known | fields, content
        return image_id

    def keystone(self) -> config.KeystoneSection:
        """Give how to log in."""
        return config.KeystoneSection(auth_url=f"{self.url}/v3", username="wherry", password="secret", connect_retries=0)

    def downloads(self) -> int:
        """Count what was downloaded."""
        return sum(path.endswith("/file") for path, _ in self.asked)


@contextlib.contextmanager
def running() -> Iterator[Service]:
    """Serve until the end of the block."""
    made = Service()
    made.may_end.set()

    class Handler(_Handler):
        service = made

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.may_end.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    service: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        endpoint = {"id": "e", "interface": "internal", "region": "R", "region_id": "R", "url": f"{self.service.url}/image"}
        named = {"id": "x", "name": "x", "domain": {"id": "default", "name": "Default"}}
        token = {
            "methods": ["password"],
            "user": named,
            "project": named,
            "roles": [named],
            "issued_at": "2030-01-01T00:00:00.000000Z",
            "expires_at": "2090-01-01T00:00:00.000000Z",
            "catalog": [{"id": "i", "type": "image", "name": "glance", "endpoints": [endpoint]}],
        }
        self._answer(201, {"token": token}, {"X-Subject-Token": "ours"})

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        path = parts.path.rstrip("/")
        if path == "/v3":
            self._answer(
                200, {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.service.url}/v3"}]}}
            )
        elif path == "/image":
            links = [{"rel": "self", "href": f"{self.service.url}/image/v2/"}]
            # So Glance does it: multiple choices.
            self._answer(300, {"versions": [{"id": "v2.9", "status": "CURRENT", "links": links}]})
        else:
            token = self.headers.get("X-Auth-Token", "")
            self.service.asked.append((path.removeprefix("/image"), token))
            if self.service.status != 200:
                self._answer(self.service.status, {"message": "no"})
            elif path == "/image/v2/images":
                self._list(dict(urllib.parse.parse_qsl(parts.query)), token)
            else:
                self._one(path.removeprefix("/image/v2/images/"), token)

    def _seen(self, token: str) -> list[dict[str, Any]]:
        return [row for row in self.service.rows.values() if row["visibility"] == "public" or token in self.service.seeing]

    def _list(self, query: dict[str, str], token: str) -> None:
        rows = [row for row in self._seen(token) if row["status"] == query.get("status", row["status"])]
        ids = [row["id"] for row in rows]
        start = ids.index(query["marker"]) + 1 if "marker" in query else 0
        shown = rows[start : start + self.service.page]
        content: dict[str, Any] = {"images": shown, "first": "/v2/images", "schema": "/v2/schemas/images"}
        if start + self.service.page < len(rows):
            content["next"] = f"/v2/images?status=active&limit=1000&marker={shown[-1]['id']}"
        self._answer(200, content)

    def _one(self, wanted: str, token: str) -> None:
        image_id, _, rest = wanted.partition("/")
        row = next((row for row in self._seen(token) if row["id"] == image_id), None)
        if row is None:
            self._answer(404, {"message": "no such image"})
        elif rest == "file":
            self._file(self.service.contents[image_id])
        else:
            self._answer(200, row)

    def _file(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.service.cut_after is not None:
                self.wfile.write(content[: self.service.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.wfile.write(content[:-1])
            self.wfile.flush()
            self.service.is_waiting.set()
            self.service.may_end.wait(30)
            self.wfile.write(content[-1:])

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
