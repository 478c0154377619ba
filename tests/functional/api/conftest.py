# SPDX-License-Identifier: Apache-2.0
"""The real application over HTTP, with the real store on SQLite and the memory bus. No conductor, unless a test registers one."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest

from wherry import clock as wherry_clock
from wherry import config, errors
from wherry.api import app as api_app
from wherry.api import service
from wherry.auth import context, noauth
from wherry.db import store as wherry_store
from wherry.db import uow as wherry_uow
from wherry.db.repositories import hosts as host_rows
from wherry.db.repositories import servers as server_rows
from wherry.images import directory as image_directory
from wherry.model import capabilities, image, migration, operation
from wherry.model import host as host_model
from wherry.model import server as server_model
from wherry.rpc import addresses
from wherry.rpc import client as rpc_client
from wherry.rpc import server as rpc_server
from wherry.rpc.transports import memory
from wherry.testing import lent_store

PROJECT = "p1"
ADMIN = f"admin:{PROJECT}"
MANAGER = f"maria:{PROJECT}:manager"
MEMBER = f"mel:{PROJECT}:member"
READER = f"rita:{PROJECT}:reader"
FOREIGN_MANAGER = "frank:p2:manager"
IMAGE = "b0070000-0000-4000-8000-000000000003"
UUID = "11111111-1111-4111-8111-11111111111{}"


class RecordingTransport(memory.MemoryTransport):
    """The memory bus, remembering in which order things left this process."""

    def __init__(self, bus: memory.MemoryBus) -> None:
        super().__init__(bus)
        self.sent: list[str] = []

    async def publish(self, subject: str, data: bytes) -> None:
        self.sent.append(subject)
        await super().publish(subject, data)

    async def request(self, subject: str, data: bytes, timeout_seconds: float) -> bytes:
        self.sent.append(subject)
        return await super().request(subject, data, timeout_seconds)


class TokenRequired(noauth.NoAuth):
    """noauth that believes only tokens such as the ones above: who sends none, or another, is nobody, as with an identity service."""

    async def authenticate(self, headers: Mapping[str, str], request_id: str) -> context.RequestContext:
        if not re.fullmatch(r"[a-z]+:p\d(:[a-z]+)?", headers.get("x-auth-token", "")):
            raise errors.Unauthenticated()
        return await super().authenticate(headers, request_id)


@dataclasses.dataclass
class Cloud:
    """One API with what is around it."""

    api: service.Api
    store: wherry_store.Store
    bus: memory.MemoryBus
    transport: RecordingTransport
    http: httpx.AsyncClient
    _conductors: list[rpc_server.Server] = dataclasses.field(default_factory=list)

    async def request(
        self, method: str, path: str, version: str | None = "2.104", *, token: str = ADMIN, json: Any = None, **more: Any
    ) -> httpx.Response:
        """Send a request with both version headers, as clients do."""
        headers = {"X-Auth-Token": token, **more.pop("headers", {})}
        if version is not None:
            headers |= {"OpenStack-API-Version": f"compute {version}", "X-OpenStack-Nova-API-Version": version}
        if json is not None:
            more["json"] = json
        return await self.http.request(method, path, headers=headers, **more)

    async def get(self, path: str, version: str | None = "2.104", **more: Any) -> httpx.Response:
        return await self.request("GET", path, version, **more)

    async def migrate(self, uuid: str, version: str = "2.104", *, token: str = ADMIN, **body: Any) -> httpx.Response:
        """POST os-migrateLive with the body that the version wants, or with the given one."""
        if "host" not in body:
            body["host"] = None
        if "block_migration" not in body:
            body["block_migration"] = "auto" if tuple(map(int, version.split("."))) >= (2, 25) else False
        return await self.request("POST", f"/v2.1/servers/{uuid}/action", version, token=token, json={"os-migrateLive": body})

    async def add_host(self, name: str, **description: Any) -> host_model.Host:
        values: dict[str, Any] = {
            "hypervisor_uuid": f"{abs(hash(name)) % 10**8:08d}-0000-4000-8000-000000000000",
            "hypervisor_hostname": f"{name}.example",
            "hypervisor_type": "QEMU",
            "hypervisor_version": 7002000,
            "host_address": "192.0.2.1",
            "vcpus": 8,
            "memory_mib": 16384,
            "disk_gib": 100,
            "free_disk_gib": 60,
            "cpu_info": '{"arch": "x86_64"}',
            "driver": "simulated",
            "capabilities": capabilities.DriverCapabilities(live_migration=True, abort=True),
        }
        described = host_model.HostDescription(**{**values, **description})
        registration = host_rows.Registration(name=name, incarnation=f"i-{name}", description=described)

        async def unit(uow: wherry_uow.UnitOfWork) -> host_model.Host:
            return await uow.hosts.register(registration, 60.0)

        return await self.store.run(unit)

    async def add_server(self, number: int, host: str | None = "h1", *, project_id: str = PROJECT, **more: Any) -> server_model.Server:
        values: dict[str, Any] = {
            "vm_state": server_model.VmState.ACTIVE,
            "power_state": server_model.PowerState.RUNNING,
            "memory_mib": 512,
            "vcpus": 1,
        }
        new = server_rows.NewServer(
            uuid=UUID.format(number),
            name=f"server-{number}",
            project_id=project_id,
            user_id="owner",
            host=host,
            node=f"{host}.example" if host else None,
            **{**values, **more},
        )

        async def unit(uow: wherry_uow.UnitOfWork) -> server_model.Server:
            return await uow.servers.insert(new)

        return await self.store.run(unit)

    async def server(self, uuid: str) -> server_model.Server:
        async def unit(uow: wherry_uow.UnitOfWork) -> server_model.Server:
            return await uow.servers.get(uuid, include_deleted=True)

        return await self.store.read(unit)

    async def update(self, uuid: str, **changes: Any) -> None:
        async def unit(uow: wherry_uow.UnitOfWork) -> None:
            await uow.servers.update(await uow.servers.get(uuid), in_operation=True, **changes)

        await self.store.run(unit)

    async def open_operation(self, uuid: str) -> tuple[operation.Operation, migration.Migration]:
        """Give what has the server now."""

        async def unit(uow: wherry_uow.UnitOfWork) -> tuple[operation.Operation, migration.Migration]:
            found = await uow.operations.open_of_instance(uuid)
            assert found is not None
            return found, await uow.migrations.get_by_uuid(found.id)

        return await self.store.read(unit)

    async def advance(self, operation_id: str, **transition: Any) -> migration.Migration:
        """Do as a conductor does: store a transition."""

        async def unit(uow: wherry_uow.UnitOfWork) -> migration.Migration:
            await uow.conductors.renew("c1", "c1", 60.0)
            claimed = await uow.operations.claim(operation_id, "c1")
            assert claimed is not None
            _, moved = await uow.operations.advance(claimed, operation.Transition(**transition))
            assert moved is not None
            return moved

        return await self.store.run(unit)

    async def conduct(self, *handlers: tuple[type[Any], Any]) -> rpc_server.Server:
        """Be the conductor: answer these messages."""
        transport = memory.MemoryTransport(self.bus)
        await transport.open()
        listener = rpc_server.Server(transport, addresses.conductor(), drain_seconds=0.1)
        for message_type, handler in handlers:
            listener.register(message_type, handler)
        await listener.start()
        self._conductors.append(listener)
        return listener

    async def require_tokens(self) -> None:
        """Answer 401 from now on to requests without a token."""
        parts = self.api.parts
        self.api.application = api_app.build(parts, TokenRequired(parts.config.api, parts.clock))
        await self.http.aclose()
        self.http = _http(self.api)

    async def close(self) -> None:
        for listener in self._conductors:
            await listener.stop()
        await self.http.aclose()
        await self.api.stop()
        await self.store.close()
        await self.transport.close()


async def until(condition: Callable[[], bool], what: str, seconds: float = 5.0) -> None:
    """Wait for a condition, at most so long."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{what}: not within {seconds:g} s")


async def make_cloud(directory: pathlib.Path, overrides: Mapping[str, Mapping[str, str]] | None = None) -> Cloud:
    settings = config.load([], environ={}, overrides={"DEFAULT": {"host": "api-1", "state_path": str(directory)}, **(overrides or {})})
    clock = wherry_clock.LoopClock()
    store = await (lent_store.open_store if settings.database.connection == lent_store.IN_MEMORY else wherry_store.Store.open)(
        settings.database, clock
    )
    bus = memory.MemoryBus()
    transport = RecordingTransport(bus)
    await transport.open()
    client = rpc_client.Client(transport, addresses.Sender(addresses.Role.API, "api-1"), timeout_seconds=5.0, clock=clock)
    api = service.Api(settings, store, client, clock=clock)
    return Cloud(api=api, store=store, bus=bus, transport=transport, http=_http(api))


def _http(api: service.Api) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=api.application), base_url="http://api.example:8774")


def add_image(cloud: Cloud, file: pathlib.Path, **fields: Any) -> image.Image:
    """Give the cloud an image of a few bytes, by way of a file that may be made."""
    file.write_bytes(b"a guest's disk")
    known: dict[str, Any] = {"name": "tiny", "image_id": IMAGE, "properties": {"os": "none"}}
    return image_directory.ImageDirectory(cloud.api.parts.config.images.directory).add(file, **(known | fields))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A database with the schema and no rows, to be copied: bringing the schema up takes longer than most tests here."""
    directory = tmp_path_factory.mktemp("empty-database")
    settings = config.load([], environ={}, overrides={"DEFAULT": {"state_path": str(directory)}})

    async def upgrade() -> None:
        store = await wherry_store.Store.open(settings.database, wherry_clock.LoopClock())
        await store.upgrade()
        await store.close()

    asyncio.run(upgrade())
    return directory / "wherry.sqlite"


@pytest.fixture
async def cloud(tmp_path: pathlib.Path) -> AsyncIterator[Cloud]:
    """Three hosts, no servers, no conductor; the database is in memory."""
    made = await make_cloud(tmp_path, {"database": {"connection": lent_store.IN_MEMORY}})
    for name in ("h1", "h2", "h3"):
        await made.add_host(name)
    yield made
    await made.close()
