"""`python -m serve_app up`."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from serve_app.launcher import report
from serve_app.launcher.flags import set_flags
from serve_app.launcher.ports import check_port
from serve_app.launcher.session import READY_SECONDS, ray_session, run_application
from serve_app.launcher.settings import Settings, read_settings


@dataclass(frozen=True)
class Options:
    """The command line; None: not given."""

    config: Path | None = None
    store: str | None = None
    model: str | None = None
    port: int | None = None
    ready_file: Path | None = None
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
        options.config, options.store, options.model, options.port, options.state_dir
    )
    set_flags({})
    # Only now: importing the application imports Ray, which reads the flags.
    from serve_app.application import app, make_plan

    plan = make_plan(settings.config)
    check_port(settings.port)
    token, new_token = _token(settings)
    with (
        _StopSignal() as stopped,
        ray_session(dashboard=options.dashboard, verbose=options.verbose),
    ):
        stopped.again()
        console.print(f"Starting {plan.config.model} on port {settings.port} …")
        run_application(app(plan.config), settings.application, settings.port, READY_SECONDS)
        url = f"http://localhost:{settings.port}"
        request = report.write_request(plan.config, plan.document)
        report.print_report(
            console, config=plan.config, manifests=plan.catalogue.manifests,
            table=_table(url, plan.config.model), url=url, request=request, token=token,
            new_token=new_token,
        )  # fmt: skip
        stopped.again()
        if options.ready_file is not None:
            report.write_ready_file(
                options.ready_file,
                {"url": url, "model": plan.config.model, "pid": os.getpid(),
                 "request": str(request), "admin_token": token},
            )  # fmt: skip
        stopped.wait()
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


class _StopSignal:
    """An event that SIGINT and SIGTERM set, while it is entered.

    A job in a script's background ignores SIGINT otherwise. Ray, when it starts, puts a handler of
    its own in place that aborts on SIGTERM and so leaves HAProxy behind: `again` puts ours back.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def __enter__(self) -> _StopSignal:
        self._before = [signal.getsignal(number) for number in self._SIGNALS]
        self.again()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self._SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def again(self) -> None:
        """Put the handlers in place."""
        for number in self._SIGNALS:
            signal.signal(number, lambda *_: self._stopped.set())

    def wait(self) -> None:
        """Return once a signal came."""
        self._stopped.wait()


def _table(url: str, model: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/admin/v1/models/{model}/routing", timeout=5) as response:
        table: dict[str, Any] = json.load(response)
        return table
