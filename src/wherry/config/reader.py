# SPDX-License-Identifier: Apache-2.0
"""One reading of files, environment and overrides through oslo.config.

The only module that imports oslo.config; nothing of it leaves this module.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from wherry import errors
from wherry.config import option as opt

#: OS_GROUP__OPTION; OpenStack clients' own OS_ variables have no double underscore.
_ENVIRONMENT_NAME = re.compile(r"OS_([A-Za-z0-9_]+?)__([A-Za-z0-9_]+)")
#: For the remedy of every error.
_INSTEAD = "Mend what is named; etc/wherry.conf.sample and docs/reference/configuration.md list every option and what it takes."

#: Values by section and option, as a caller or a test gives them.
Overrides = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong."""

    #: File, environment variable or other source.
    where: str
    #: What is wrong there and what to write instead.
    what: str


def invalid(problems: Sequence[Problem]) -> errors.ConfigInvalid:
    """Make one error of all problems, so that an operator mends them in one go."""
    first, *others = problems
    what = "\n".join([first.what, *(f"{other.where}: {other.what}" for other in others)])
    return errors.ConfigInvalid(where=first.where, problem=what, instead=_INSTEAD)


class Reader:
    """One reading of all sources; collects problems so that all are told at once."""

    def __init__(self, sections: Collection[type[opt.Section]], files: list[str]) -> None:
        self._problems: list[Problem] = []
        self._has_unreadable_file = False
        #: (section, option) -> where its value comes from and the text found there.
        self._sources: dict[tuple[str, str], tuple[str, str]] = {}
        self._options = {section.SECTION: {option.name: option for option in opt.describe(section)} for section in sections}
        self._conf = cfg.ConfigOpts()
        for section in sections:
            self._conf.register_opts(_oslo_options(section), group=None if section.SECTION == "DEFAULT" else section.SECTION)
        for path in files:
            self._note_file(path)
        if self._has_unreadable_file:
            self.raise_problems()
        self._conf(
            args=[],
            project="wherry",
            default_config_files=files,
            default_config_dirs=[],
            use_env=False,
        )

    def raise_problems(self) -> None:
        """Raise one error that names all problems met so far, if any."""
        if self._problems:
            raise invalid(self._problems)

    def _note_file(self, path: str) -> None:
        found: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(path, found).parse()
        except OSError as error:
            self._refuse_file(path, f"cannot be read: {error.strerror}")
        except cfg.ParseError as error:
            self._refuse_file(f"{path}, line {error.lineno}", f"{error.line!r}: {error.msg}; write [section] or option = value")
        except UnicodeDecodeError:
            self._refuse_file(path, "is not UTF-8 text")
        for section, options in found.items():
            if section not in self._options:
                self._complain(path, self._unknown_section(section))
                continue
            for name, values in options.items():
                if self._is_known(section, name, path):
                    self._sources[section, name] = (path, values[-1])

    def _refuse_file(self, where: str, what: str) -> None:
        self._has_unreadable_file = True
        self._complain(where, what)

    def apply_environment(self, environ: Mapping[str, str]) -> None:
        """Let variables named OS_SECTION__OPTION win over the files."""
        by_upper = {section.upper(): section for section in self._options}
        for variable in sorted(environ):
            match = _ENVIRONMENT_NAME.fullmatch(variable)
            if match is None:
                continue
            section, name = by_upper.get(match[1].upper()), match[2].lower()
            where = f"environment variable {variable}"
            if section is None:
                self._complain(where, self._unknown_section(match[1].lower()))
            elif variable != variable.upper():
                self._complain(where, f"is not read, because names of variables are in capitals; write {variable.upper()}")
            elif self._is_known(section, name, where):
                self._set(section, name, environ[variable], where)

    def apply_overrides(self, overrides: Overrides) -> None:
        """Let values given by the program win over everything."""
        for section, options in overrides.items():
            if section not in self._options:
                self._complain("override", self._unknown_section(section))
                continue
            for name, value in options.items():
                if self._is_known(section, name, "override"):
                    self._set(section, name, value, "override")

    def _is_known(self, section: str, name: str, where: str) -> bool:
        if name in self._options[section]:
            return True
        self._complain(where, self._unknown_option(section, name))
        return False

    def _complain(self, where: str, what: str) -> None:
        problem = Problem(where=where, what=what)
        if problem not in self._problems:
            self._problems.append(problem)

    def _set(self, section: str, name: str, value: Any, where: str) -> None:
        self._sources[section, name] = (where, str(value))
        option = self._options[section][name]
        value = list(value) if isinstance(value, tuple) else value
        try:
            self._conf.set_override(name, value, None if section == "DEFAULT" else section)
        except (ValueError, TypeError):
            self._bad_value(option)

    def read(self, section: type[opt.Section]) -> Any:
        """Make a section of the values in force; a wrong one is noted and left at its default."""
        values = {}
        for option in opt.describe(section):
            try:
                values[option.name] = self._value(option)
            except (cfg.Error, ValueError):
                self._bad_value(option)
        return section(**values)

    def _value(self, option: opt.Option) -> Any:
        group = self._conf if option.section == "DEFAULT" else self._conf[option.section]
        value = group[option.name]
        if option.kind is tuple:
            return tuple(item for item in value if item)
        if option.is_optional and value == "":
            return None
        if value is None and not option.is_optional:
            # oslo.config reads an empty number as None.
            raise ValueError("nothing")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("not a finite number")
        return value

    def _bad_value(self, option: opt.Option) -> None:
        where, text = self._sources.get((option.section, option.name), ("default", ""))
        shown = "(hidden)" if option.is_secret else repr(text)
        hint = ""
        if "$" in text:
            hint = "; write $$ for a dollar sign"
        what = f"[{option.section}] {option.name} = {shown} is not accepted; it takes {option.accepted()}{hint}"
        self._complain(where, what)

    def _unknown_section(self, section: str) -> str:
        nearest = _nearest(section, self._options)
        known = ", ".join(f"[{name}]" for name in self._options)
        advice = f"did you mean [{nearest}]?" if nearest else f"the sections are {known}"
        return f"there is no section [{section}]; {advice}"

    def _unknown_option(self, section: str, name: str) -> str:
        homes = [other for other, options in self._options.items() if name in options]
        if homes:
            return f"[{section}] has no option {name}; it belongs to [{homes[0]}]"
        nearest = _nearest(name, self._options[section])
        if nearest:
            return f"[{section}] has no option {name}; did you mean {nearest}?"
        for other, options in self._options.items():
            nearest = _nearest(name, options, likeness=0.8)
            if nearest:
                return f"[{section}] has no option {name}; did you mean [{other}] {nearest}?"
        known = ", ".join(self._options[section])
        return f"[{section}] has no option {name}; its options are {known}"


def _nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else None


@functools.cache
def _oslo_options(section: type[opt.Section]) -> list[Any]:
    # What is read is kept with the reading, not with them: one reading more need not make them anew.
    return [_oslo_option(option) for option in opt.describe(section)]


def _oslo_option(option: opt.Option) -> Any:
    constraint = option.constraint
    common: dict[str, Any] = {
        "default": list(option.default) if option.kind is tuple else option.default,
        "help": option.help,
        "secret": option.is_secret,
        "mutable": option.is_mutable,
    }
    if option.kind is bool:
        return cfg.BoolOpt(option.name, **common)
    if option.kind is tuple:
        return cfg.ListOpt(option.name, **common)
    if option.kind is str:
        pattern = f"^(?:{constraint.pattern})$" if constraint.pattern else None
        choices = list(constraint.choices) or None
        return cfg.StrOpt(option.name, choices=choices, regex=pattern, **common)
    numeric: Any = cfg.IntOpt if option.kind is int else cfg.FloatOpt
    return numeric(option.name, min=constraint.minimum, max=constraint.maximum, **common)
