# SPDX-License-Identifier: Apache-2.0
"""Two contracts for import-linter: who may import whom, and the door of each foreign library.

Both look at direct imports only. Every package is covered, so what is reachable follows. A package
that does not exist yet breaks nothing. The tables themselves stand in pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def longest_prefix(module: str, names: list[str]) -> str | None:
    """Return the most specific of the names that the module is or lies in."""
    holders = [name for name in names if module == name or module.startswith(f"{name}.")]
    return max(holders, key=len, default=None)


def parse_rules(lines: list[str]) -> dict[str, list[str]]:
    """Read lines of the form `name -> name name …`."""
    rules = {}
    for line in lines:
        name, arrow, allowed = line.partition("->")
        if not arrow:
            raise ValueError(f"{line!r} is not a rule; write: package -> package package")
        rules[name.strip()] = allowed.split()
    return rules


class _LinesContract(Contract):
    """A contract whose breaches are lines of text."""

    def breaches(self, graph: ImportGraph) -> Iterator[str]:
        """Yield a line for each import that the contract forbids."""
        raise TypeError(f"{type(self).__name__} must say what breaks it")

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Judge the graph."""
        del verbose
        found = sorted(self.breaches(graph))
        return ContractCheck(kept=not found, metadata={"breaches": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the breaches."""
        for line in check.metadata["breaches"]:
            output.print_error(line)

    def place(self, graph: ImportGraph, importer: str, imported: str) -> str:
        """Say where an import stands."""
        details = list(graph.get_import_details(importer=importer, imported=imported))
        lines = ", ".join(str(detail["line_number"]) for detail in details)
        return f"{importer} line {lines}"


class AllowedContract(_LinesContract):
    """Each package imports of ours only what its rule lists, and itself."""

    rules: Any = fields.ListField(subfield=fields.StringField())

    def breaches(self, graph: ImportGraph) -> Iterator[str]:
        """Yield imports between our packages that no rule allows."""
        rules = parse_rules(self.rules)
        names = list(rules)
        ours = [module for module in graph.modules if module.split(".")[0] == "wherry"]
        for importer in ours:
            home = longest_prefix(importer, names)
            if home is None:
                if importer != "wherry":
                    yield f"{importer} belongs to no rule; give its package a line in pyproject.toml"
                continue
            for imported in graph.find_modules_directly_imported_by(importer):
                owner = longest_prefix(imported, names)
                if imported.split(".")[0] != "wherry" or imported == "wherry" or owner in (home, None) or owner in rules[home]:
                    continue
                if "*" not in rules[home]:
                    yield f"{self.place(graph, importer, imported)}: {home} may not import {imported}"


class DoorContract(_LinesContract):
    """Each foreign library is imported only by the packages that are its door."""

    doors: Any = fields.ListField(subfield=fields.StringField())
    pure: Any = fields.ListField(subfield=fields.StringField())

    def breaches(self, graph: ImportGraph) -> Iterator[str]:
        """Yield imports of foreign libraries elsewhere than through their door."""
        doors = parse_rules(self.doors)
        for library, homes in doors.items():
            if library not in graph.modules:
                continue
            for importer in graph.find_modules_that_directly_import(library):
                if longest_prefix(importer, homes) is None:
                    yield f"{self.place(graph, importer, library)}: only {', '.join(homes)} may import {library}"
        yield from self._impurities(graph)

    def _impurities(self, graph: ImportGraph) -> Iterator[str]:
        rules = parse_rules(self.pure)
        for importer in graph.modules:
            home = longest_prefix(importer, list(rules))
            if home is None:
                continue
            for imported in graph.find_modules_directly_imported_by(importer):
                if imported.split(".")[0] != "wherry" and imported not in rules[home]:
                    yield f"{self.place(graph, importer, imported)}: {home} is pure and imports of the outside only {' '.join(rules[home])}"
