"""One run of Ray Serve on this machine: started whole, stopped whole."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from serve_app.errors import SelfCheckError, StartFailedError
from serve_app.launcher.flags import haproxy_side_ports, set_flags
from serve_app.launcher.ports import free_port
from serve_app.launcher.settings import SERVICER
from serve_app.launcher.stopping import StopSignal

READY_SECONDS = 120.0
_POLL_SECONDS = 0.05
_SELF_CHECK = SelfCheckError.__name__
"""A replica's exception reaches the launcher as text."""


@contextlib.contextmanager
def ray_session(*, dashboard: bool, verbose: bool) -> Iterator[None]:
    """Ray and nothing else; on the way out Serve and Ray are stopped and no process is left.

    The flags are set before Ray is imported, for it reads them on import.

    Raises:
        StartFailedError: Ray does not start.
    """
    set_flags(haproxy_side_ports(free_port(), free_port()))
    import ray
    from ray import serve

    try:
        ray.init(
            address="local",
            include_dashboard=dashboard,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.ERROR,
            namespace="serve",
        )
    except Exception as error:
        raise StartFailedError(f"Ray does not start: {error}") from error
    try:
        yield
    finally:
        # Without Serve's own shutdown HAProxy would outlive Ray and keep the port. Ray prints that
        # its controller was killed while it was asked to shut down, each time.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            with contextlib.suppress(Exception):
                serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def run_application(
    application: Any,
    name: str,
    port: int,
    grpc_port: int | None,
    ready_seconds: float,
    stopped: StopSignal,
) -> bool:
    """Deploy a built application and return once it answers, or False once `stopped` came.

    `grpc_port` None: no gRPC.

    Raises:
        SelfCheckError: a variant does not reproduce its recorded scores.
        StartFailedError: a replica fails otherwise, or is not ready within `ready_seconds`.
    """
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    deadline = time.monotonic() + ready_seconds
    from ray.serve.api import _run

    try:
        serve.start(
            http_options={"host": "0.0.0.0", "port": port}, grpc_options=_grpc_options(grpc_port)
        )
        # Not serve.run(): it waits without an end, and hides why a replica fails.
        _run(application, _blocking=False, name=name, route_prefix="/")
    except Exception as error:
        raise StartFailedError(f"Ray Serve does not start: {_last_line(str(error))}") from error
    stopped.again()
    while not (_running(name) and is_ready(port)):
        failure = _failure(name)
        if failure is not None:
            kind = SelfCheckError if _SELF_CHECK in failure else StartFailedError
            raise kind(f"the application does not start: {failure}")
        if time.monotonic() > deadline:
            raise StartFailedError(
                f"the application is not ready after {ready_seconds:.0f} s: "
                f"{_pending(name)}; logs are in /tmp/ray/session_latest/logs/serve"
            )
        if stopped.came(_POLL_SECONDS):
            return False
    return True


def replicas(name: str) -> dict[str, dict[str, int]]:
    """Replicas by deployment and state; empty while Ray Serve does not tell."""
    from ray import serve

    application = serve.status().applications.get(name)
    if application is None:
        return {}
    return {
        deployment: {str(state): count for state, count in overview.replica_states.items()}
        for deployment, overview in application.deployments.items()
    }


def _grpc_options(port: int | None) -> dict[str, Any] | None:
    if port is None:
        return None
    return {"port": port, "grpc_servicer_functions": [SERVICER]}


def is_ready(port: int) -> bool:
    """Whether the gateway says it is ready."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/v2/health/ready", timeout=2
        ) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _running(name: str) -> bool:
    """Whether every replica of every deployment is up."""
    from ray import serve

    application = serve.status().applications.get(name)
    return application is not None and application.status == "RUNNING"


def _failure(name: str) -> str | None:
    """Why the application failed, None while it has not."""
    from ray import serve

    application = serve.status().applications.get(name)
    if application is None or application.status not in ("DEPLOY_FAILED", "UNHEALTHY"):
        return None
    messages = [
        f"{deployment}: {_last_line(state.message)}"
        for deployment, state in application.deployments.items()
        if state.status not in ("HEALTHY", "UPDATING") and state.message
    ]
    return "; ".join(messages) or _last_line(application.message)


def _pending(name: str) -> str:
    import ray
    from ray import serve

    application = serve.status().applications.get(name)
    if application is None:
        return "it was not deployed"
    states = [
        f"{deployment} is {state.status.value}" + (f" ({state.message})" if state.message else "")
        for deployment, state in application.deployments.items()
        if state.status != "HEALTHY"
    ]
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = f"Ray has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
    return "; ".join([*states, room])


def _last_line(message: str) -> str:
    """A replica's failure is reported as its whole traceback; the last line says what it was."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    return (errors or lines or ["unknown"])[-1].strip()
