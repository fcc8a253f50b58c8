"""`python -m serve_app up`."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from serve_app.cores import keep_off
from serve_app.launcher import report
from serve_app.launcher.flags import haproxy_shedding, set_flags
from serve_app.launcher.ports import check_port
from serve_app.launcher.session import READY_SECONDS, ray_session, replicas, run_application
from serve_app.launcher.settings import Settings, read_settings
from serve_app.launcher.status import Gateways, stream
from serve_app.launcher.stopping import StopSignal


@dataclass(frozen=True)
class Options:
    """The command line; None: not given."""

    config: Path | None = None
    store: str | None = None
    model: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    data_port: int | None = None
    ready_file: Path | None = None
    ready_seconds: float = READY_SECONDS
    state_dir: str | None = None
    dashboard: bool = False
    verbose: bool = False


def up(options: Options) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        StartError, StoreError: it cannot be served; nothing is left running.
    """
    # In a log there is no terminal's width to keep to.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    settings = read_settings(
        options.config, options.store, options.model, options.port, options.state_dir,
        options.grpc_port, options.data_port,
    )  # fmt: skip
    set_flags({})
    # Only now: importing the application imports Ray, which reads the flags.
    from serve_app.application import app, make_plan

    plan = make_plan(settings.config)
    gateway = plan.config.gateway
    set_flags(haproxy_shedding(gateway.max_ongoing_requests * gateway.num_replicas))
    check_port(settings.port)
    if settings.grpc_port is not None:
        check_port(settings.grpc_port, option="--grpc-port")
    if gateway.data_port is not None:
        check_port(gateway.data_port.port, option="--data-port")
    if gateway.cores:
        keep_off(gateway.cores)
    token, new_token = _token(settings)
    with (
        StopSignal() as stopped,
        ray_session(dashboard=options.dashboard, verbose=options.verbose),
    ):
        stopped.again()
        console.print(f"Starting {plan.config.model} on port {settings.port} …")
        if run_application(
            app(plan.config), settings.application, settings.port, settings.grpc_port,
            options.ready_seconds, stopped,
        ):  # fmt: skip
            url = f"http://localhost:{settings.port}"
            grpc = None if settings.grpc_port is None else f"localhost:{settings.grpc_port}"
            direct = f"http://localhost:{gateway.data_port.port}" if gateway.data_port else None
            gateways = Gateways(url, plan.config.model)
            request = report.write_request(plan.config, plan.document)
            report.print_report(
                console, config=plan.config, index=gateways.index(), table=gateways.table() or {},
                url=url, request=request, token=token, new_token=new_token,
            )  # fmt: skip
            stopped.again()
            if options.ready_file is not None:
                report.write_ready_file(
                    options.ready_file,
                    {"url": url, "direct": direct, "grpc": grpc, "model": plan.config.model,
                     "pid": os.getpid(), "request": str(request), "admin_token": token},
                )  # fmt: skip
            stream(console, gateways, partial(replicas, settings.application), stopped.came)
        console.print("Stopping …")
    if options.ready_file is not None:
        options.ready_file.unlink(missing_ok=True)


def _token(settings: Settings) -> tuple[str, bool]:
    """The admin token, made up if there is none; replicas inherit it through the environment."""
    variable = settings.config.admin_token_env
    given = os.environ.get(variable)
    if given:
        return given, False
    token = secrets.token_urlsafe(24)
    os.environ[variable] = token
    return token, True
