# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ works: every option exists, each process takes its files, and systemd understands the units."""

from __future__ import annotations

import configparser
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from wherry import config as configs
from wherry.cmd import agent, api, conductor, main, running
from wherry.config import option as opt

_DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
_UNITS = sorted((_DEPLOY / "systemd").glob("*.service"))
_MAKERS: dict[str, running.MakeService] = {"api": api.ApiProcess, "conductor": conductor.ConductorProcess, "agent": agent.AgentProcess}
#: Of systemd-analyze security, where 10 is the worst.
_MOST_EXPOSED = 2.5


def _files_of(unit: pathlib.Path) -> list[pathlib.Path]:
    words = shlex.split(_service(unit)["ExecStart"])
    assert words[0] == "/opt/wherry/bin/wherry"
    return [
        _DEPLOY / "three-machines" / pathlib.Path(word).name
        for word, before in zip(words[1:], words, strict=False)
        if before == "--config-file"
    ]


def _service(unit: pathlib.Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's own documentation does it
    parser.read(unit)
    return parser["Service"]


def test_there_is_a_unit_for_each_process() -> None:
    assert [unit.name for unit in _UNITS] == ["wherry-agent.service", "wherry-api.service", "wherry-conductor.service"]


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.stem)
async def test_each_process_takes_the_files_that_its_unit_names(unit: pathlib.Path) -> None:
    command = shlex.split(_service(unit)["ExecStart"])[1]
    config = configs.load(_files_of(unit), {})
    _MAKERS[command](config)
    assert getattr(config.health, f"{command}_port") is not None
    assert len(config.bus.transport_url) == 3


def test_the_agent_knows_no_secret_of_the_database() -> None:
    (unit,) = (unit for unit in _UNITS if "agent" in unit.name)
    config = configs.load(_files_of(unit), {})
    assert config.database.connection.startswith("sqlite")
    assert config.keystone.password == ""
    assert config.agent.journal_path == f"/var/lib/{_service(unit)['StateDirectory']}"


def test_images_are_where_every_process_may_read_and_the_agent_may_write() -> None:
    known = {unit.stem: configs.load(_files_of(unit), {}).images for unit in _UNITS}
    assert {images.directory for images in known.values()} == {"/srv/wherry/images"}
    (unit,) = (unit for unit in _UNITS if "agent" in unit.name)
    assert known[unit.stem].download_directory.startswith(f"/var/lib/{_service(unit)['StateDirectory']}/")


def test_a_unit_gives_more_time_to_end_than_a_process_takes() -> None:
    for unit in _UNITS:
        limit = configs.load(_files_of(unit), {}).default.stop_timeout_seconds
        assert float(_service(unit)["TimeoutStopSec"]) > limit


def test_no_secret_looks_like_a_real_one() -> None:
    secrets = {option.name for section in configs.SECTIONS.values() for option in opt.describe(section) if option.is_secret}
    for file in (_DEPLOY / "three-machines").glob("*.conf"):
        for name, value in re.findall(r"^(\w+) = (.*)$", file.read_text(), re.MULTILINE):
            if name in secrets and name not in ("transport_url", "connection"):
                assert value == "change-me", (file.name, name)


@pytest.mark.parametrize("unit", _UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_the_unit(unit: pathlib.Path, tmp_path: pathlib.Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # The program need not be installed here.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/wherry/bin/wherry", f"{pathlib.Path(sys.executable).parent}/wherry"))
    said = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False)
    about_it = [line for line in said.stderr.splitlines() if unit.stem in line]
    assert about_it == []
    said = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)
    assert found is not None, said.stderr
    assert float(found[1]) <= _MOST_EXPOSED


def test_the_example_of_the_bus_gives_each_process_its_permissions(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    """As docs/howto/deploy.md has it: the users of the example files are users of the bus."""
    users = [f"control-kvm{number}" for number in (1, 2, 3)] + [f"agent-kvm{number}" for number in (1, 2, 3)]
    (tmp_path / "bus.hashes").write_text("".join(f"{user}:$2y$05${'a' * 53}\n" for user in users))
    text = (_DEPLOY.parent / "docs" / "howto" / "deploy.md").read_text()
    (command,) = re.findall(r"# wherry (bus-permissions .*?) >/etc", text.replace("\\\n", ""))
    words = [word.replace("bus.hashes", str(tmp_path / "bus.hashes")) for word in shlex.split(command)]
    assert main.main(words) == 0
    printed = capsys.readouterr().out
    assert all(f'"{user}"' in printed or user in printed for user in users)
    for unit in _UNITS:
        assert configs.load(_files_of(unit), {}).bus.user in users
