# SPDX-License-Identifier: Apache-2.0
"""How an option is declared: one dataclass field that carries everything known about it.

Knows no file, environment or oslo.config; from here come the loader's options, the sample file
and the reference page, so nothing about an option is written twice.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, TypeVar

T = TypeVar("T")


class Section(Protocol):
    """One section of the configuration: a frozen dataclass whose fields are options."""

    #: Its name in the file.
    SECTION: ClassVar[str]
    #: One sentence for the sample file and the reference page.
    ABOUT: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def problems(self) -> Iterable[str]:
        """Say what is wrong with these values taken together, naming options and remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Constraint:
    """What a value must satisfy beyond its type."""

    #: Smallest accepted number.
    minimum: float | None = None
    #: Largest accepted number.
    maximum: float | None = None
    #: The only accepted words.
    choices: tuple[str, ...] = ()
    #: Regular expression a text must match from end to end.
    pattern: str | None = None
    #: The pattern in words, for messages and documentation.
    form: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """Everything known about one option."""

    section: str
    name: str
    #: bool, int, float, str or tuple.
    kind: type
    #: Whether None (an empty value in the file) is accepted.
    is_optional: bool
    default: Any
    help: str
    constraint: Constraint
    #: What a number counts, for documentation.
    unit: str | None
    #: Whether SIGHUP applies a new value without a restart.
    is_mutable: bool
    #: Whether the value may hold a password and so never appears in messages or logs.
    is_secret: bool
    #: What the program puts in place of an empty value, in words.
    derived: str | None

    @property
    def environment_name(self) -> str:
        """Return the name of the environment variable that overrides the file."""
        return f"OS_{self.section.upper()}__{self.name.upper()}"

    def accepted(self) -> str:
        """Say in words what values this option takes."""
        if self.constraint.form:
            text = self.constraint.form
        elif self.constraint.choices:
            text = "one of " + ", ".join(self.constraint.choices)
        else:
            text = self._accepted_of_kind()
        return f"{text}, or nothing" if self.is_optional else text

    def _accepted_of_kind(self) -> str:
        if self.kind is bool:
            return "true or false"
        if self.kind is tuple:
            return "a list separated by commas"
        if self.kind is str:
            return "text"
        noun = "an integer" if self.kind is int else "a number"
        low, high = self.constraint.minimum, self.constraint.maximum
        unit = f" ({self.unit})" if self.unit else ""
        if low is not None and high is not None:
            return f"{noun} from {low:g} to {high:g}{unit}"
        if low is not None:
            return f"{noun} of {low:g} or more{unit}"
        return f"{noun}{unit}"

    def shown_default(self) -> str:
        """Return the default as it would be written in the file."""
        if self.default is None:
            return ""
        if self.kind is bool:
            return "true" if self.default else "false"
        if self.kind is tuple:
            return ",".join(self.default)
        if self.kind is float:
            return f"{self.default:g}"
        return str(self.default)


def option(
    default: T,
    help_text: str,
    *,
    constraint: Constraint | None = None,
    unit: str | None = None,
    mutable: bool = False,
    secret: bool = False,
    derived: str | None = None,
) -> T:
    """Declare an option as a dataclass field."""
    metadata = {
        "help": help_text,
        "constraint": constraint or Constraint(),
        "unit": unit,
        "mutable": mutable,
        "secret": secret,
        "derived": derived,
    }
    field: Any = dataclasses.field(default=default, metadata=metadata)
    return typing.cast("T", field)


def at_least(minimum: float, maximum: float | None = None) -> Constraint:
    """Accept numbers from minimum on, up to maximum where given."""
    return Constraint(minimum=minimum, maximum=maximum)


def one_of(*choices: str) -> Constraint:
    """Accept one of these words."""
    return Constraint(choices=choices)


def matching(pattern: str, form: str) -> Constraint:
    """Accept text that matches the pattern; ``form`` says the same in words."""
    return Constraint(pattern=pattern, form=form)


@functools.cache
def describe(section: type[Section]) -> tuple[Option, ...]:
    """Return the options of a section in the order they are declared."""
    hints = typing.get_type_hints(section)
    return tuple(_describe_field(section.SECTION, field, hints[field.name]) for field in dataclasses.fields(section))


def _describe_field(section: str, field: dataclasses.Field[Any], hint: Any) -> Option:
    is_optional = False
    if isinstance(hint, types.UnionType):
        kinds = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
        is_optional = len(kinds) < len(typing.get_args(hint))
        (hint,) = kinds
    return Option(
        section=section,
        name=field.name,
        kind=typing.get_origin(hint) or hint,
        is_optional=is_optional,
        default=field.default,
        help=field.metadata["help"],
        constraint=field.metadata["constraint"],
        unit=field.metadata["unit"],
        is_mutable=field.metadata["mutable"],
        is_secret=field.metadata["secret"],
        derived=field.metadata["derived"],
    )
