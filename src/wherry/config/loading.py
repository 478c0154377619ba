# SPDX-License-Identifier: Apache-2.0
"""Read files and the environment, refuse what is unknown or wrong, return a frozen Config.

Holds no state: who needs the configuration is given it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wherry import errors
from wherry.config import option as opt
from wherry.config import reader as source
from wherry.config import tree


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reloaded:
    """What a reload brought."""

    #: The configuration to go on with.
    config: tree.Config
    #: "section.option" of values that are new and in force.
    changed: tuple[str, ...]
    #: "section.option" of values that differ in the file but need a restart.
    needs_restart: tuple[str, ...]


def load(
    config_files: Sequence[str | os.PathLike[str]] = (),
    environ: Mapping[str, str] | None = None,
    overrides: source.Overrides | None = None,
) -> tree.Config:
    """Read every option once; a later file wins over an earlier, the environment over files.

    Overrides (from the command line, or from tests) win over both and are keyed by the section's
    name in the file.

    :raises errors.ConfigInvalid: naming every unknown or wrong option and what is accepted
    """
    environ = os.environ if environ is None else environ
    files = [os.fspath(path) for path in config_files]
    reader = source.Reader(tree.SECTIONS.values(), files)
    reader.apply_environment(environ)
    reader.apply_overrides(overrides or {})
    sections = {name: reader.read(section) for name, section in tree.SECTIONS.items()}
    reader.raise_problems()
    config = _derive(tree.Config(**sections), files)
    clashes = [what for name in tree.SECTIONS for what in getattr(config, name).problems()]
    clashes += config.problems()
    if clashes:
        raise source.invalid([source.Problem(where="configuration", what=what) for what in clashes])
    return config


def reload(
    current: tree.Config,
    config_files: Sequence[str | os.PathLike[str]] = (),
    environ: Mapping[str, str] | None = None,
    overrides: source.Overrides | None = None,
) -> Reloaded:
    """Read again and take over the options that may change while a process runs.

    :raises errors.ConfigInvalid: as load does; the current configuration stays in force
    """
    fresh = load(config_files, environ, overrides)
    changed: list[str] = []
    needs_restart: list[str] = []
    sections = {}
    for attribute, section in tree.SECTIONS.items():
        old, new = getattr(current, attribute), getattr(fresh, attribute)
        taken = {}
        for option in opt.describe(section):
            value = getattr(new, option.name)
            if value == getattr(old, option.name):
                continue
            name = f"{option.section}.{option.name}"
            (changed if option.is_mutable else needs_restart).append(name)
            if option.is_mutable:
                taken[option.name] = value
        sections[attribute] = dataclasses.replace(old, **taken)
    return Reloaded(
        config=tree.Config(**sections),
        changed=tuple(changed),
        needs_restart=tuple(needs_restart),
    )


def _derive(config: tree.Config, files: Sequence[str]) -> tree.Config:
    """Fill in what depends on the machine or on other options."""
    state_path = config.default.state_path
    default, database, agent, images = config.default, config.database, config.agent, config.images
    if not default.host:
        default = dataclasses.replace(default, host=socket.gethostname())
    if not database.connection:
        path = pathlib.Path(state_path) / "wherry.sqlite"
        connection = f"sqlite:///{path}"
        database = dataclasses.replace(database, connection=connection)
    if not agent.journal_path:
        agent = dataclasses.replace(agent, journal_path=str(pathlib.Path(state_path) / "agent"))
    if not images.directory:
        images = dataclasses.replace(images, directory=str(pathlib.Path(state_path) / "images"))
    if not images.download_directory:
        images = dataclasses.replace(images, download_directory=str(pathlib.Path(state_path) / "downloads"))
    return dataclasses.replace(
        config,
        default=default,
        database=database,
        agent=agent,
        images=images,
        policy=_derive_policy(config, files),
    )


def _derive_policy(config: tree.Config, files: Sequence[str]) -> Any:
    path = pathlib.Path(config.policy.policy_file)
    if files and not path.is_absolute():
        path = pathlib.Path(files[-1]).absolute().parent / path
    # Passed over, a misspelt name would leave the built-in rules in force where the operator's are stricter.
    if path.name != type(config.policy)().policy_file and not path.is_file():
        raise errors.ConfigInvalid(
            where="[oslo_policy] policy_file",
            problem=f"there is no file {path}",
            instead="Name the file of your rules, or leave the option out.",
        )
    return dataclasses.replace(config.policy, policy_file=str(path))


def settings(config: tree.Config) -> Iterator[tuple[str, str]]:
    """Yield "section.option" and value of everything in force, secrets hidden, for the log."""
    for attribute, section in tree.SECTIONS.items():
        values = getattr(config, attribute)
        for option in opt.describe(section):
            value = "(hidden)" if option.is_secret else str(getattr(values, option.name))
            yield f"{option.section}.{option.name}", value
