# SPDX-License-Identifier: Apache-2.0
"""The only mapping from errors to HTTP: one total table from category to status, a few slugs that differ, and the body of an error.

Decides nothing else. An error that the tables do not name by slug is answered by its category, so a new error needs no line here.
"""

from __future__ import annotations

from collections.abc import Mapping

from wherry import errors

#: Error category -> HTTP status. Total: a test holds it against the enum.
STATUS_OF_CATEGORY: dict[errors.Category, int] = {
    errors.Category.NOT_FOUND: 404,
    errors.Category.CONFLICT: 409,
    errors.Category.INVALID: 400,
    errors.Category.FORBIDDEN: 403,
    errors.Category.UNAUTHENTICATED: 401,
    errors.Category.UNAVAILABLE: 503,
    # Nova answers 400 to every NotSupported.
    errors.Category.UNSUPPORTED: 400,
    # Nova answers 500 to a messaging timeout.
    errors.Category.TIMEOUT: 500,
    errors.Category.INTERNAL: 500,
}

#: Slugs whose category would blame the client for what is our own trouble.
STATUS_OF_SLUG: dict[str, int] = {
    errors.ConfigInvalid.slug: 500,
    errors.MessageInvalid.slug: 500,
    errors.StaleEpoch.slug: 500,
    errors.LeaseLost.slug: 500,
    errors.HostRefused.slug: 500,
    errors.JournalLocked.slug: 500,
    errors.MessageTooLarge.slug: 500,
    errors.SenderRefused.slug: 500,
}

#: Slugs that mean something else as the answer of the checks to a client that waits for them (microversions below 2.34).
STATUS_OF_CHECK: dict[str, int] = {
    errors.HypervisorUnavailable.slug: 400,
    errors.HostUnreachable.slug: 400,
    errors.RpcTimeout.slug: 400,
    errors.Unsupported.slug: 400,
    errors.GuestNotFound.slug: 409,
}

#: HTTP status -> key of the error body, as Nova names it; any other status is a computeFault.
FAULT_NAMES: dict[int, str] = {
    400: "badRequest",
    # Not Nova's "unauthorized": in front of Nova keystonemiddleware answers, and this is its form.
    401: "error",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


class HttpFault(Exception):
    """An answer that is an error, raised where only HTTP itself is concerned or where the status is already known."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def bad_request(message: str) -> HttpFault:
    """Give the 400 that says what is wrong with the request."""
    return HttpFault(400, message)


def not_found(hint: str = "") -> HttpFault:
    """Give the 404 of a path, or of a method that does not exist in the requested version, with what would be there instead."""
    return HttpFault(404, text_of("The resource could not be found.", hint))


def of_error(error: errors.Error) -> HttpFault:
    """Give the answer to a request that ended in this error."""
    status = STATUS_OF_SLUG.get(error.slug, STATUS_OF_CATEGORY[error.category])
    headers = {"Retry-After": "1"} if status == 503 else {}
    return HttpFault(status, text_of(error.message, error.remedy), headers)


def of_check(slug: str, message: str, remedy: str) -> HttpFault:
    """Give the answer to a client that waited for checks which said no."""
    known = errors.known_slugs().get(slug)
    if known is None:
        # A word of a newer conductor, or none: the text says what there is to say.
        return HttpFault(500, text_of(message, remedy))
    status = STATUS_OF_CHECK.get(slug, STATUS_OF_SLUG.get(slug, STATUS_OF_CATEGORY[known.category]))
    return HttpFault(status, text_of(message, remedy))


def unexpected(error: BaseException, request_id: str) -> HttpFault:
    """Give the answer to a request that ended in an error nobody foresaw: its type, never its traceback, and where to find the rest."""
    return HttpFault(500, f"Unexpected API Error. Report it with the API's log lines of request {request_id}.\n<class '{_name(error)}'>")


def with_request_id(fault: HttpFault, request_id: str) -> HttpFault:
    """Make sure that a 500 names the request, so that the log can be searched for it."""
    if fault.code < 500 or request_id in fault.message:
        return fault
    return HttpFault(fault.code, f"{fault.message} (request {request_id})", fault.headers)


def body(fault: HttpFault) -> dict[str, dict[str, object]]:
    """Give the body of an error: one key that names it, with code and message."""
    name = FAULT_NAMES.get(fault.code, "computeFault")
    content: dict[str, object] = {"code": fault.code, "message": fault.message}
    if fault.code == 401:
        content["title"] = "Unauthorized"
    if fault.code in (413, 429) and "Retry-After" in fault.headers:
        content["retryAfter"] = fault.headers["Retry-After"]
    return {name: content}


def text_of(message: str, remedy: str) -> str:
    """Join what is wrong and what to do about it."""
    return errors.told(message, remedy)


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
