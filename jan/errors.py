"""Every error that Jan raises on purpose, its status and its stable code.

    JanError
    ├── InvalidRequest        400  the request itself is wrong
    │   ├── InvalidJSON       400
    │   ├── InvalidCode       400
    │   ├── BodyTooLarge      413
    │   ├── ContextLengthExceeded 400
    │   ├── HeadersTooLarge   431
    │   ├── RangeNotSatisfiable 416
    │   ├── UrlNotFetched     400
    │   │   └── UrlRefused    400
    │   ├── UnknownHost       421
    │   └── Unsupported       400
    │       └── ToolNotConfigured 400
    ├── Unauthorized          401  no credential, or one that does not work
    │   ├── TokenExpired      401
    │   ├── SessionEnded      401
    │   ├── WrongPassword     401
    │   └── SignInFailed      401
    ├── Forbidden             403  a credential that may not do this
    ├── NotFound              404  missing, or not the caller's: the two look alike
    │   ├── ModelNotFound     404
    │   ├── ToolNotFound      404
    │   └── PreviousResponseNotFound 404
    ├── MethodNotAllowed      405
    │   └── MethodUnknown     501
    ├── Conflict              409  the state does not allow it
    ├── RateLimited           429
    │   └── TooManyWaiting    429
    ├── UpstreamError         502  the model server answered with nonsense, or died
    │   └── UpstreamTimedOut  504
    ├── ToolServerFailed      502  a remote MCP server can't be reached or understood
    ├── Unavailable           503  something that Jan needs is not there yet
    │   ├── ModelLoading      503
    │   ├── DatabaseUnavailable 503
    │   ├── QueueFull         503
    │   ├── QueueTimedOut     503
    │   ├── ToolTimedOut      504
    │   └── Draining          503
    └── Misconfigured         500  the operator has to mend a setting (CLI: exit 1)

`code` is part of the wire: it never changes meaning. `docs/errors.md` is written from this module.
"""

EXIT_REFUSED = 1
"""How a `jan` ends that had to refuse, after it said why and perhaps what to do about it."""
COMPLAINT = "error: "
HINT = "hint: "


class JanError(Exception):
    """Something was refused or failed, with a sentence that its reader can act on."""

    status: int = 500
    """HTTP status."""
    type: str = "server_error"
    """OpenAI's error type."""
    code: str = "internal_error"
    """Stable snake_case word."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The field of the request that is to blame, such as `messages[0].role`."""
        self.hint = hint
        """What an operator at the terminal can do about it."""
        self.retry_after_s = retry_after_s
        """Seconds after which trying again makes sense; sent as `Retry-After`."""


class InvalidRequest(JanError):
    """The request is wrong in itself; sending it again will not help."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class InvalidJSON(InvalidRequest):
    """The body is not JSON, or not the JSON object that the route takes."""

    code = "invalid_json"


class InvalidCode(InvalidRequest):
    """The code of a link is none, was used before, or is too old: ask for a new link."""

    code = "invalid_code"


class BodyTooLarge(InvalidRequest):
    """The body is longer than `max_body_bytes`."""

    status = 413
    code = "request_too_large"


class ContextLengthExceeded(InvalidRequest):
    """What the model is to read is longer than its context."""

    code = "context_length_exceeded"


class Unsupported(InvalidRequest):
    """The request is well formed, but asks for what this Jan, or its model server, can't do."""

    code = "unsupported"


class ToolNotConfigured(Unsupported):
    """The tool is one of Jan's, but needs a setting that its operator has not made."""

    code = "tool_not_configured"


class UrlNotFetched(InvalidRequest):
    """What a URL leads to could not be fetched. The message says why."""

    code = "url_not_fetched"


class UrlRefused(UrlNotFetched):
    """The URL leads to where Jan fetches nothing from: see `outbound_allow` in the settings."""

    code = "url_refused"


class HeadersTooLarge(InvalidRequest):
    """The request line and the headers are longer than 64 KiB."""

    status = 431
    code = "headers_too_large"


class RangeNotSatisfiable(InvalidRequest):
    """The file ends before the range that is asked for begins."""

    status = 416
    code = "range_not_satisfiable"


class UnknownHost(InvalidRequest):
    """The `Host` of a request for MCP is none that this Jan goes by."""

    status = 421
    code = "unknown_host"


class Unauthorized(JanError):
    """No key was sent, or one that does not work (unknown, malformed, expired, revoked)."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    challenge: str = "Bearer"
    """How to come in, as `WWW-Authenticate` says it."""


class TokenExpired(Unauthorized):
    """The access token's 15 minutes are over: get a new one with the refresh token."""

    code = "token_expired"


class SessionEnded(Unauthorized):
    """No refresh token was sent, or one that does not work (any more): sign in again."""

    code = "session_ended"


class WrongPassword(Unauthorized):
    """The e-mail address or the password is wrong; which of them is not told."""

    code = "invalid_credentials"


class SignInFailed(Unauthorized):
    """A sign-in at an OpenID provider came to nothing. The message says why; start again."""

    code = "sign_in_failed"


class Forbidden(JanError):
    """The key is good but may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFound(JanError):
    """There is no such thing, or none that the caller may see."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """No model of that name is served here."""

    code = "model_not_found"


class ToolNotFound(NotFound):
    """There is no tool of that name."""

    code = "tool_not_found"


class PreviousResponseNotFound(NotFound):
    """The response that this one is to go on from is not there, or not any more."""

    code = "previous_response_not_found"


class MethodNotAllowed(JanError):
    """The path exists, but not with this method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class MethodUnknown(MethodNotAllowed):
    """No path takes this method: it is none of HTTP's."""

    status = 501
    code = "method_unknown"


class Conflict(JanError):
    """The thing is in a state that does not allow this."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class RateLimited(JanError):
    """Too many requests for now."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class TooManyWaiting(RateLimited):
    """The model is busy, and this project has as many requests waiting as it may."""

    code = "too_many_waiting"


class UpstreamError(JanError):
    """The model server could not be understood, or stopped in the middle of an answer."""

    status = 502
    code = "upstream_error"


class UpstreamTimedOut(UpstreamError):
    """The model server took the request and did not begin to answer in time."""

    status = 504
    code = "upstream_timed_out"


class ToolServerFailed(JanError):
    """A remote MCP server could not be reached or understood, or broke a limit."""

    status = 502
    code = "tool_server_failed"


class Unavailable(JanError):
    """Something that Jan needs is not there at the moment."""

    status = 503
    type = "service_unavailable_error"
    code = "service_unavailable"


class ModelLoading(Unavailable):
    """The model server is starting or being restarted."""

    code = "model_loading"


class DatabaseUnavailable(Unavailable):
    """The database does not answer, and what was asked can't be known without it."""

    code = "database_unavailable"


class QueueFull(Unavailable):
    """The model is busy, and so is every place to wait for it."""

    code = "queue_full"


class QueueTimedOut(Unavailable):
    """The model was busy for as long as a request may wait."""

    code = "queue_timed_out"


class ToolTimedOut(Unavailable):
    """The tool did not answer in time."""

    status = 504
    code = "tool_timed_out"


class Draining(Unavailable):
    """This process is shutting down and takes no new requests."""

    code = "shutting_down"


class Misconfigured(JanError):
    """A setting, a file or the machine is not as Jan needs it; only the operator can mend it."""

    code = "misconfigured"
