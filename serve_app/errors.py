"""What can go wrong while serving. Each leaf maps once to an HTTP status or to an exit code.

SlimserveError                     HTTP  reason (metric label)
├── RequestError
│   ├── MalformedRequestError      400   malformed
│   ├── InvalidInputError          400   invalid_input
│   ├── TooManyRowsError           400   too_many_rows
│   ├── InvalidTimeoutError        400   invalid_timeout
│   ├── UnknownModelError          404   unknown_model
│   ├── UnknownVariantError        404   unknown_variant
│   ├── UnknownPathError           404   unknown_path
│   ├── MethodNotAllowedError      405   wrong_method
│   ├── BodyTimeoutError           408   body_timeout
│   ├── BodyTooLargeError          413   body_too_large
│   ├── EncodedBodyError           415   encoded_body
│   ├── HeadTooLargeError          431   head_too_large
│   └── UnsupportedError           501   unsupported
├── ControlError
│   ├── InvalidTableError          400   invalid_table
│   ├── InvalidOptionsError        400   invalid_options
│   ├── UnauthenticatedError       401   unauthenticated
│   ├── ForbiddenError             403   forbidden
│   ├── NotPublishedError          404   not_published
│   ├── StaleTableError            409   stale_table
│   ├── VariantInUseError          409   variant_in_use
│   ├── NeedsRedeployError         409   needs_redeploy
│   ├── UnloadableError            422   unloadable
│   └── NotConfirmedError          503   not_confirmed
├── ServingError
│   ├── QueueFullError             429   queue_full
│   │   └── LineFullError          429   line_full
│   ├── VariantFailedError         500   failed
│   │   └── NotFiniteError         500   not_finite
│   ├── DeadlineExceededError      504   deadline
│   ├── BackendUnavailableError    503   unavailable
│   └── NotReadyError              503   not_ready
└── StartError                     exit code
    ├── ConfigError                2     configuration, before anything is started
    ├── PortTakenError             3
    ├── StartFailedError           4     Ray or the application did not come up
    │   └── UnusableGpuError       4     a GPU was reserved, and nothing can be computed on it
    └── SelfCheckError             5     a variant does not reproduce its recorded scores
The model store's own errors (`compression.store.errors`) end the launcher with 7 and 8.
"""

from __future__ import annotations


class SlimserveError(Exception):
    """Base of the tree. `str(error)` is what a caller may read: no paths, no stack traces."""


class RequestError(SlimserveError):
    """The caller's request cannot be answered as it is."""

    status = 400
    reason = "malformed"


class MalformedRequestError(RequestError):
    """The body is not a request of the Open Inference Protocol."""


class InvalidInputError(RequestError):
    """An input is missing, unknown, twice there, or not of the model's shape or type."""

    reason = "invalid_input"


class TooManyRowsError(RequestError):
    """More rows than one request may have."""

    reason = "too_many_rows"


class InvalidTimeoutError(RequestError):
    """The caller's time limit is not a number of seconds."""

    reason = "invalid_timeout"


class UnknownModelError(RequestError):
    """No such model here."""

    status = 404
    reason = "unknown_model"


class UnknownVariantError(RequestError):
    """The model has no variant of that name here."""

    status = 404
    reason = "unknown_variant"


class UnknownPathError(RequestError):
    """No such path."""

    status = 404
    reason = "unknown_path"


class MethodNotAllowedError(RequestError):
    """The path exists, the method does not. `allow` is for the Allow header."""

    status = 405
    reason = "wrong_method"

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class BodyTooLargeError(RequestError):
    """The body is longer than `limits.max_body_bytes`."""

    status = 413
    reason = "body_too_large"


class BodyTimeoutError(RequestError):
    """The body was not there within `limits.body_timeout_seconds`."""

    status = 408
    reason = "body_timeout"


class EncodedBodyError(RequestError):
    """The body is compressed."""

    status = 415
    reason = "encoded_body"


class HeadTooLargeError(RequestError):
    """The headers are longer than the data port reads."""

    status = 431
    reason = "head_too_large"


class UnsupportedError(RequestError):
    """A part of the protocol that is not implemented, and not advertised."""

    status = 501
    reason = "unsupported"


class ControlError(SlimserveError):
    """A change of the routing table or of the variants was not accepted."""

    status = 400
    reason = "invalid_table"


class InvalidTableError(ControlError):
    """The document is not a routing table for the variants served here."""


class InvalidOptionsError(ControlError):
    """How a variant is to be served cannot be understood."""

    reason = "invalid_options"


class UnauthenticatedError(ControlError):
    """No bearer token, or not the right one."""

    status = 401
    reason = "unauthenticated"


class ForbiddenError(ControlError):
    """Changes are switched off: no admin token is set on the server."""

    status = 403
    reason = "forbidden"


class StaleTableError(ControlError):
    """Somebody else changed the table first. `version` is the one in force."""

    status = 409
    reason = "stale_table"

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


class NotPublishedError(ControlError):
    """The store has no variant of that name, or the application serves none."""

    status = 404
    reason = "not_published"


class VariantInUseError(ControlError):
    """The variant cannot go, or change so, while the routing table or the model needs it."""

    status = 409
    reason = "variant_in_use"


class NeedsRedeployError(ControlError):
    """Only another configuration, deployed, can do that."""

    status = 409
    reason = "needs_redeploy"


class UnloadableError(ControlError):
    """What is published cannot be served here: corrupt, or not what it says, or unsupported."""

    status = 422
    reason = "unloadable"


class NotConfirmedError(ControlError):
    """The change is kept, but not every gateway has confirmed it yet."""

    status = 503
    reason = "not_confirmed"


class ServingError(SlimserveError):
    """The request is fine, the server cannot answer it now."""

    status = 503
    reason = "unavailable"


class QueueFullError(ServingError):
    """The variant's bounded queue is full: shed. `retry_after_seconds` is for Retry-After."""

    status = 429
    reason = "queue_full"

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LineFullError(QueueFullError):
    """More requests wait for their turn at the data port than are answered soon enough: shed."""

    reason = "line_full"

    def __init__(self, max_wait_seconds: float) -> None:
        super().__init__(
            f"gateway: expected a turn within {max_wait_seconds:g} s, given more requests than are "
            "answered in that time; ask again in 1 s",
            retry_after_seconds=1,
        )


class DeadlineExceededError(ServingError):
    """The time limit passed, the caller's or the variant's, before there was an answer."""

    status = 504
    reason = "deadline"


class VariantFailedError(ServingError):
    """The variant raised, or answered something that is not a number."""

    status = 500
    reason = "failed"


class NotFiniteError(VariantFailedError):
    """The variant answered NaN or infinity for a finite input."""

    reason = "not_finite"


class BackendUnavailableError(ServingError):
    """No replica of the variant answers."""


class NotReadyError(ServingError):
    """The gateway has no routing table or no model yet."""

    reason = "not_ready"


class StartError(SlimserveError):
    """The application cannot be started."""

    exit_code = 4


class ConfigError(StartError):
    """The configuration is not valid; found before anything is started."""

    exit_code = 2


class PortTakenError(StartError):
    """Another process listens on a port that is needed."""

    exit_code = 3


class StartFailedError(StartError):
    """Ray or the application did not come up."""


class UnusableGpuError(StartFailedError):
    """There is a GPU, and the runtime would silently compute on the CPU."""


class SelfCheckError(StartError):
    """A variant's scores differ from those its manifest records."""

    exit_code = 5
