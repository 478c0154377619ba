# SPDX-License-Identifier: Apache-2.0
"""Log lines: one sentence, then fields; as text for people or JSON for collectors.

Never lets a secret through: fields with telling names and passwords in URLs are hidden on the way
out, whoever logs them. Keeps no global state but the handler on Python's root logger.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TextIO, cast

import structlog

from wherry import errors

#: Fields that hold secrets wherever they appear.
_SECRET_NAME = re.compile(r"password|passwd|secret|token|authorization|cookie|private_key|credential", re.IGNORECASE)
#: The password of a URL, up to the last @ before the host.
_URL_PASSWORD = re.compile(r"(?P<head>\w\://[^\s:/@]*:)[^\s/]*(?=@)")
#: Tokens and passwords inside free text, such as a header or a body that a library quotes.
_TEXT_SECRET = re.compile(
    r"(?P<head>(?:x-(?:auth|subject|service)-token|authorization|password)[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',}]+",
    re.IGNORECASE,
)
#: One of these is in whatever that matches.
_SECRET_WORDS = ("-token", "authorization", "password")
#: What would start another line or steer a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What needs no quotes as a field's value.
_PLAIN = re.compile(r"[^\s\"\[\]=]+")
_HIDDEN = "(hidden)"

Logger = structlog.stdlib.BoundLogger
_Event = MutableMapping[str, Any]


def get_logger(name: str) -> Logger:
    """Return the logger of a module; cheap, may be called at import."""
    # wrap_logger with explicit arguments, so that structlog's own global configuration is not used.
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return cast("Logger", logger)


@contextlib.contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Put fields (request_id, migration_id, instance_uuid, host) on every line of this task."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def current(name: str, default: str = "") -> str:
    """Return a field that is bound in this task, so that a message can carry it on."""
    return str(structlog.contextvars.get_contextvars().get(name, default))


def told(error: BaseException) -> dict[str, Any]:
    """Give the fields that tell of an error: slug and message of one of ours, the traceback of any other."""
    if isinstance(error, errors.Error):
        return {"slug": error.slug, "error": error.message}
    return {"error": f"{type(error).__name__}: {error}", "exc_info": error}


def configure(
    log_format: str = "text",
    *,
    is_debug: bool = False,
    stream: TextIO | None = None,
    now: Callable[[], datetime.datetime] | None = None,
) -> None:
    """Send the lines of the whole process, libraries included, to a stream (standard error).

    Replaces an earlier configuration. ``now`` gives the times; a simulation passes its clock.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter(log_format, now))
    root = logging.getLogger()
    for old in root.handlers[:]:
        if getattr(old, "is_of_wherry", False):
            root.removeHandler(old)
    handler.is_of_wherry = True  # type: ignore[attr-defined]  # marks what a second call replaces
    root.addHandler(handler)
    set_debug(is_debug)


def set_debug(is_debug: bool) -> None:
    """Log debug messages or stop doing so; libraries stay at INFO and warnings."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.getLogger("wherry").setLevel(logging.DEBUG if is_debug else logging.INFO)
    for noisy in ("uvicorn.access", "uvicorn.error", "sqlalchemy", "alembic", "stevedore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def formatter(log_format: str, now: Callable[[], datetime.datetime] | None = None) -> logging.Formatter:
    """Return the formatter for text or json."""
    renderer = structlog.processors.JSONRenderer(default=str, sort_keys=False) if log_format == "json" else render_text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _stamp(now or (lambda: datetime.datetime.now(datetime.UTC))),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            hide_secrets,
            renderer,
        ],
    )


def _stamp(now: Callable[[], datetime.datetime]) -> structlog.typing.Processor:
    def stamp(_logger: Any, _method: str, event: _Event) -> _Event:
        event["time"] = now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return stamp


def hide_secrets(_logger: Any, _method: str, event: _Event) -> _Event:
    """Hide what must not be written, in fields, in nested values and in text."""
    for name, value in event.items():
        event[name] = _hide(name, value)
    return event


def _hide(name: str, value: Any) -> Any:
    # A flag such as has_token, or a number, tells nothing.
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool | int | float):
        return _HIDDEN
    if isinstance(value, dict):
        return {key: _hide(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hide("", item) for item in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, Exception):
        value = str(value)
    return hide_in_text(value) if isinstance(value, str) else value


def hide_in_text(text: str) -> str:
    """Return the text without passwords of URLs and without tokens."""
    # Looked for first in plain: most texts hold neither, and each line that is logged pays for several.
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\g<head>{_HIDDEN}", text)
    folded = text.casefold()
    return _TEXT_SECRET.sub(rf"\g<head>{_HIDDEN}", text) if any(word in folded for word in _SECRET_WORDS) else text


def render_text(_logger: Any, _method: str, event: _Event) -> str:
    """Write a line for people: time, level, sentence, fields."""
    fields = dict(event)
    time, level = fields.pop("time", ""), str(fields.pop("level", "info")).upper()
    sentence, exception = str(fields.pop("event", "")), fields.pop("exception", None)
    fields.pop("logger", None)
    shown = " ".join(f"{name}={_show(value)}" for name, value in fields.items() if value is not None)
    line = f"{time} {level:<7} {sentence}" + (f" [{shown}]" if shown else "")
    # A line is one line: what a client or a hypervisor sent must not start another.
    line = _CONTROL.sub(lambda match: repr(match[0])[1:-1], line)
    return f"{line}\n{exception}" if exception else line


def _show(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else repr(text)
