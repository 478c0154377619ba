# SPDX-License-Identifier: Apache-2.0
"""Every module can be imported alone, and the import contracts can be broken."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import pkgutil
import subprocess
import sys

import grimp
import pytest

import wherry
from scripts import import_contracts

# Forks one child a module from an interpreter that has loaded nothing of ours, so that each is imported
# first and alone; starting an interpreter for each would take ten times as long. Two run at a time.
_PROBE = """
import importlib, json, os, sys, traceback, warnings
# What the foreign libraries cost, and what they warn of, is paid once, before the forks: the claim is about our own modules.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for name in (
        "asyncio", "pydantic", "sqlalchemy.ext.asyncio", "starlette.applications", "oslo_config.cfg", "structlog", "alembic.op",
        "cliff.columns", "httpx", "jsonschema", "keystoneauth1.identity.v3", "oslo_policy.policy", "osc_lib.command.command",
        "asyncpg", "nats.aio.client", "osc_lib.utils", "prometheus_client", "pydantic.dataclasses", "pytest",
        "rich.progress", "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.aiosqlite", "uvicorn",
    ):
        importlib.import_module(name)
assert not [name for name in sys.modules if name.split(".")[0] == "wherry"]
running, failures = {}, {}

def reap():
    pid, status = os.wait()
    name, read = running.pop(pid)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    if status:
        failures[name] = text

for name in json.load(sys.stdin):
    if len(running) == 2:
        reap()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        status = 0
        try:
            importlib.import_module(name)
        except BaseException:
            os.write(write, traceback.format_exc()[-4000:].encode())
            status = 1
        os._exit(status)
    os.close(write)
    running[pid] = (name, read)
while running:
    reap()
json.dump(failures, sys.stdout)
"""


def _modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(wherry.__path__, "wherry.", onerror=lambda name: None)]
    # Alembic's scripts run inside a migration context only.
    return [name for name in found if not name.startswith("wherry.db.migrations.")]


@pytest.mark.slow
def test_each_module_imports_alone() -> None:
    """A cycle, or a module that leans on another having been imported first, fails here."""
    modules = [name for name in _modules() if _is_installed_for(name)]
    assert "wherry.config.loading" in modules
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROBE], input=json.dumps(modules), capture_output=True, text=True, timeout=150, check=False
    )
    assert result.returncode == 0, result.stderr
    failures: dict[str, str] = json.loads(result.stdout)
    assert not failures, "\n".join(f"{name}:\n{text}" for name, text in failures.items())


def _is_installed_for(name: str) -> bool:
    """Say whether the library behind a module is there: libvirt is left out where it cannot be built, tempest is always elsewhere."""
    foreign = {"wherry.drivers.libvirt": "libvirt", "wherry.testing.tempest_plugin.": "tempest"}
    return all(importlib.util.find_spec(library) is not None for ours, library in foreign.items() if name.startswith(ours))


def test_modules_are_found() -> None:
    """The walk reaches every file below src/wherry, so that no module escapes the test above."""
    root = pathlib.Path(wherry.__path__[0])
    files = {path.relative_to(root).with_suffix("").as_posix().replace("/", ".") for path in root.rglob("*.py")}
    named = {f"wherry.{name.removesuffix('.__init__')}" for name in files if name != "__init__"}
    assert {name for name in named if not name.startswith("wherry.db.migrations.")} <= set(_modules())


def _graph(*imports: tuple[str, str]) -> grimp.ImportGraph:
    graph = grimp.ImportGraph()
    for importer, imported in imports:
        for module in (importer, imported):
            graph.add_module(module)
        graph.add_import(importer=importer, imported=imported, line_number=1, line_contents="import it")
    return graph


def _allowed(rules: list[str], *imports: tuple[str, str]) -> list[str]:
    contract = import_contracts.AllowedContract(name="x", session_options={}, contract_options={"rules": rules})
    return list(contract.breaches(_graph(*imports)))


RULES = ["wherry.model ->", "wherry.db -> wherry.model", "wherry.rpc -> wherry.model", "wherry.agent -> wherry.rpc wherry.model"]


def test_an_import_that_no_rule_allows_is_a_breach() -> None:
    """The agent must not reach the database."""
    (line,) = _allowed(RULES, ("wherry.agent.monitor", "wherry.db.schema"), ("wherry.agent.monitor", "wherry.rpc.client"))
    assert "wherry.agent may not import wherry.db.schema" in line


def test_imports_within_a_package_and_down_are_allowed() -> None:
    """A package may import itself and what its rule lists."""
    assert not _allowed(RULES, ("wherry.db.uow", "wherry.db.schema"), ("wherry.db.uow", "wherry.model.states"))


def test_the_most_specific_rule_decides() -> None:
    """Sibling drivers are packages of their own."""
    rules = ["wherry.drivers ->", "wherry.drivers.libvirt -> wherry.drivers", "wherry.drivers.simulated -> wherry.drivers"]
    assert not _allowed(rules, ("wherry.drivers.libvirt.driver", "wherry.drivers.base"))
    assert _allowed(rules, ("wherry.drivers.libvirt.driver", "wherry.drivers.simulated.driver"))


def test_a_package_without_a_rule_is_a_breach() -> None:
    """A new package must say whom it may import."""
    (line,) = _allowed(RULES, ("wherry.web.app", "wherry.model.states"))
    assert "belongs to no rule" in line


@pytest.mark.parametrize(("importer", "is_breach"), [("wherry.db.schema", False), ("wherry.api.app", True)])
def test_a_library_is_imported_through_its_door_only(importer: str, is_breach: bool) -> None:
    """SQLAlchemy belongs to db."""
    options = {"doors": ["sqlalchemy -> wherry.db"], "pure": ["wherry.model -> enum"]}
    contract = import_contracts.DoorContract(name="x", session_options={}, contract_options=options)
    assert bool(list(contract.breaches(_graph((importer, "sqlalchemy"))))) == is_breach


@pytest.mark.parametrize(("imported", "is_breach"), [("enum", False), ("asyncio", True), ("pydantic", True)])
def test_the_model_stays_pure(imported: str, is_breach: bool) -> None:
    """No I/O and no foreign library in model, the standard library's own included."""
    options = {"doors": ["sqlalchemy -> wherry.db"], "pure": ["wherry.model -> enum"]}
    contract = import_contracts.DoorContract(name="x", session_options={}, contract_options=options)
    assert bool(list(contract.breaches(_graph(("wherry.model.states", imported))))) == is_breach
