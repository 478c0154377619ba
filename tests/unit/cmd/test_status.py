# SPDX-License-Identifier: Apache-2.0
"""`wherry status`, from a database alone."""

from __future__ import annotations

import asyncio
import datetime
import json
import pathlib

import pytest

from wherry import clock as clocks
from wherry import config as configs
from wherry.cmd import main, status
from wherry.db import store as stores
from wherry.db import uow as uows
from wherry.db.repositories import migrations, servers
from wherry.model import guest, server


@pytest.fixture
def file(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "wherry.conf"
    path.write_text(f"[database]\nconnection = sqlite:///{tmp_path}/wherry.sqlite\n")
    return str(path)


async def _dispute(file: str) -> None:
    async def unit(uow: uows.UnitOfWork) -> None:
        made = servers.NewServer(
            uuid="ad6de7e0-2d4c-4ee4-9b8c-9f6a0ea0a3b4",
            name="web",
            project_id="p",
            user_id="u",
            host="h1",
            node="h1",
            vm_state=server.VmState.ACTIVE,
            power_state=server.PowerState.RUNNING,
            memory_mib=1,
            vcpus=1,
        )
        await uow.servers.insert_all([made])
        await uow.disputes.note(made.uuid, "h2", recorded_host="h1", recorded_state=guest.GuestState.SHUT_OFF)

    store = await stores.Store.open(configs.load([file]).database, clocks.LoopClock())
    await store.upgrade()
    await store.run(unit)
    await store.close()


def test_a_dispute_is_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(_dispute(file))
    assert main.main(["status", "--config-file", file]) == 0
    text = capsys.readouterr().out
    assert "which their own does not confirm:" in text
    assert "ad6de7e0-2d4c-4ee4-9b8c-9f6a0ea0a3b4  h1           shut_off  h2" in text
    assert main.main(["status", "--config-file", file, "--format", "json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["disputes"]
    assert (told["recorded_on"], told["says"], told["claimed_by"]) == ("h1", "shut_off", "h2")


@pytest.mark.parametrize(
    ("vm_state", "refusals", "notes"),
    [
        (server.VmState.RESIZED, 0, "confirmed by itself in 40 s"),
        (server.VmState.RESIZED, 1, "1 confirmations were refused; confirmed by itself in 140 s"),
        (server.VmState.ERROR, 0, "its state was reset to error: it waits for a person"),
    ],
)
def test_a_move_that_waits_says_for_what(vm_state: server.VmState, refusals: int, notes: str) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    waiting = migrations.Unconfirmed(
        id=7,
        uuid="m",
        server_name="web",
        vm_state=vm_state,
        source_compute="h1",
        dest_compute="h2",
        rested_at=now - datetime.timedelta(seconds=60),
        refusals=refusals,
    )
    told = status.move_row(waiting, now, configs.load([], {}, {"DEFAULT": {"resize_confirm_window": 100}}))
    assert (told["migration"], told["waits_for_seconds"], told["notes"]) == (7, 60.0, notes)
