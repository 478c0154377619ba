# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents are kept to: schemathesis sends what they allow and what they forbid, and judges the answers."""

from __future__ import annotations

import asyncio
import copy
import json
import pathlib
import re
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.api import conftest
from wherry.api import microversions, openapi
from wherry.rpc import messages

#: Seconds for one version, of which a tenth is used on an idle machine.
_LIMIT_SECONDS = 100.0
#: Derandomised, so that what fails fails again; a few cases each beside those that schemathesis derives from the schemas.
_OPTIONS = ("--generation-deterministic", "--no-color", "--phases", "coverage,fuzzing", "--max-examples", "3", "--output-sanitize", "false")
#: What is left out of schemathesis' checks: conditions that no schema can say (a known host, an id of this fleet) are 400s in Nova, too.
_NOT_CHECKED = "positive_data_acceptance"


async def test_the_document_is_answered_without_a_token(cloud: conftest.Cloud) -> None:
    answer = await cloud.http.get("/openapi.json?microversion=2.34")
    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(openapi.document(microversions.parse("2.34"), "http://api.example:8774")))
    assert (await cloud.http.get("/openapi.json")).json()["info"]["version"] == str(microversions.MAXIMUM)
    assert (await cloud.http.get("/openapi.json?microversion=2.x")).status_code == 400
    assert (await cloud.http.get("/openapi.json?microversion=2.9999")).status_code == 406
    assert (await cloud.http.post("/openapi.json")).status_code == 405


def _with_ids(document: dict[str, Any], ids: dict[str, list[str]]) -> dict[str, Any]:
    """Name what there is in this cloud, so that what lies behind a 404 is reached; the version is a header of every request instead."""
    changed = copy.deepcopy(document)
    for item in changed["paths"].values():
        item["parameters"] = [one for one in item["parameters"] if one["in"] == "path"]
        for parameter in item["parameters"]:
            if parameter["name"] in ids:
                parameter["schema"]["enum"] = ids[parameter["name"]]
            if parameter["name"] == "key":
                # Any text is a key, and in a path everything is a text: there is nothing to refuse by its type.
                parameter["schema"] = {}
    return changed


async def _ids_of(cloud: conftest.Cloud, version: str) -> dict[str, list[str]]:
    servers = [(await cloud.add_server(number)).uuid for number in (1, 2, 3)]
    migrating = await cloud.migrate(servers[0])
    _, record = await cloud.open_operation(servers[0])
    body = {"server_group": {"name": "group", "policy": "anti-affinity"}}
    group = (await cloud.request("POST", "/v2.1/os-server-groups", json=body)).json()["server_group"]["id"]
    await cloud.request("POST", "/v2.1/flavors/1/os-extra_specs", json={"extra_specs": {"hw:known": "1"}})
    hypervisors = (await cloud.get("/v2.1/os-hypervisors", version)).json()["hypervisors"]
    return {
        "server_id": servers,
        "migration_id": [str(record.id), record.uuid],
        "request_id": [migrating.headers["x-openstack-request-id"]],
        "group_id": [group],
        "hypervisor_id": [str(one["id"]) for one in hypervisors],
        "service_id": ["enable", "disable", *(str(one["id"]) for one in hypervisors)],
        "flavor_id": ["1", "c1-m512-d0"],
        "image_id": [conftest.IMAGE],
    }


async def _schemathesis(file: pathlib.Path, base: str, version: str) -> tuple[str, int]:
    """Run it beside the API, which answers meanwhile; give what it printed and how it ended."""
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    headers = ("--header", f"X-Auth-Token: {conftest.ADMIN}", "--header", f"X-OpenStack-Nova-API-Version: {version}")
    process = await asyncio.create_subprocess_exec(
        str(program),
        *("run", str(file), "--url", f"{base}/v2.1", "--exclude-checks", _NOT_CHECKED, *headers, *_OPTIONS),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=file.parent,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _LIMIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(), process.returncode or 0


async def _show_console(_sender: str, _message: messages.ShowConsole) -> messages.ConsoleRead:
    return messages.ConsoleRead(output="the last line")


@pytest.mark.clients
@pytest.mark.parametrize("version", [pytest.param("2.30", marks=pytest.mark.slow), "2.1000"])
async def test_schemathesis_finds_no_server_error_and_nothing_undocumented(
    tmp_path: pathlib.Path, empty_database: pathlib.Path, tell: Callable[[str], None], version: str
) -> None:
    shutil.copy(empty_database, tmp_path)
    # Nobody answers clients that wait for checks here: they are sent home early, which is a documented 500.
    options = {"bind_port": "0", "blocking_request_timeout_seconds": "0.1"}
    cloud = await conftest.make_cloud(tmp_path, {"api": options})
    for name in ("h1", "h2"):
        await cloud.add_host(name)
    await cloud.require_tokens()
    await cloud.conduct((messages.ShowConsole, _show_console))
    conftest.add_image(cloud, tmp_path / "image.raw")
    try:
        base = await cloud.api.start()
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(_with_ids(openapi.document(microversions.parse(version), base), await _ids_of(cloud, version))))
        output, code = await _schemathesis(file, base, version)
    finally:
        await cloud.close()
    assert code == 0, output
    operations, cases = re.search(r"Tested: (\d+)", output), re.search(r"(\d+) generated", output)
    assert operations is not None and cases is not None
    tell(f"schemathesis at {version}: {operations[1]} operations, {cases[1]} cases, 0 failures")
    assert int(operations[1]) == sum(len(item) - 1 for item in openapi.document(microversions.parse(version), base)["paths"].values())
