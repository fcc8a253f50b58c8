"""`python -m serve_app up`: start Ray, serve a store, say where everything is, stop cleanly."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from compression.store import StoreError
from serve_app.errors import StartError
from serve_app.launcher.session import READY_SECONDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serve_app", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="serve a model store on this machine until Ctrl-C")
    up.add_argument("--config", type=Path, help="Serve config (default: deploy/serve.yaml)")
    up.add_argument("--store", help="model store, folder or URI (default: the config's)")
    up.add_argument("--model", help="model in the store (default: the config's)")
    up.add_argument("--port", type=int, help="HTTP port (default: the config's, or 8000)")
    up.add_argument(
        "--grpc-port", type=int, help="gRPC port, 0: no gRPC (default: the config's, or none)"
    )
    up.add_argument(
        "--data-port", type=int, help="the gateways' own HTTP port, 0: none (default: the config's)"
    )
    up.add_argument("--ready-file", type=Path, help="JSON file to write once requests are answered")
    up.add_argument(
        "--ready-seconds", type=seconds, default=READY_SECONDS,
        help=f"how long a start may take, models loaded (default: {READY_SECONDS:.0f})",
    )  # fmt: skip
    up.add_argument("--state-dir", help="where routing tables are kept (default: the config's)")
    up.add_argument(
        "--dashboard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also start Ray's dashboard",
    )
    up.add_argument("--verbose", action="store_true", help="show the logs of Ray's processes")
    up.set_defaults(action=_up)
    _add_profile(commands.add_parser("profile", help="what a request's time is spent on"))
    _add_devices(commands.add_parser("devices", help="each variant on the CPU and on the GPU"))
    return parser


def seconds(text: str) -> float:
    """A time limit; argparse tells of any other text, by this function's name."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, given {text}")
    return value


def _add_measured(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", default="out/demo/store", help="model store, folder or URI")
    command.add_argument("--model", default="fraud")
    command.add_argument("--json", type=Path, help="write the figures here")


def _add_profile(command: argparse.ArgumentParser) -> None:
    _add_measured(command)
    command.add_argument("--variant", default="distilled-int8")
    command.add_argument("--rows", type=int, default=1, help="rows of a request")
    command.add_argument("--callers", type=int, nargs="+", default=[1, 16], help="at once")
    command.add_argument("--seconds", type=float, default=10.0, help="timed, and as long sampled")
    command.set_defaults(action=_profile)


def _profile(arguments: argparse.Namespace) -> None:
    from serve_app.profiling.profile import Options, as_document, as_text, profile

    options = Options(
        store=arguments.store,
        model=arguments.model,
        variant=arguments.variant,
        rows=arguments.rows,
        callers=tuple(arguments.callers),
        seconds=arguments.seconds,
    )
    profiles = profile(options)
    print(as_text(options, profiles))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(as_document(options, profiles), indent=2) + "\n")


def _add_devices(command: argparse.ArgumentParser) -> None:
    _add_measured(command)
    command.add_argument("--variants", nargs="+", default=[], help="default: all published")
    command.add_argument("--rows", type=int, nargs="+", default=[1, 8, 64, 512], help="of a call")
    command.add_argument("--threads", type=int, default=1, help="of the CPU")
    command.add_argument("--rounds", type=int, default=5)
    command.set_defaults(action=_devices)


def _devices(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from serve_app.profiling.devices import Options, measure, show, write

    options = Options(
        store=arguments.store,
        model=arguments.model,
        variants=tuple(arguments.variants),
        rows=tuple(arguments.rows),
        threads=arguments.threads,
        rounds=arguments.rounds,
    )
    console = Console()
    measured = measure(options, console)
    show(options, measured, console)
    if arguments.json is not None:
        write(arguments.json, options, measured)


def _up(arguments: argparse.Namespace) -> None:
    from serve_app.launcher.up import Options, up

    options = Options(
        config=arguments.config,
        store=arguments.store,
        model=arguments.model,
        port=arguments.port,
        grpc_port=arguments.grpc_port,
        data_port=arguments.data_port,
        ready_file=arguments.ready_file,
        ready_seconds=arguments.ready_seconds,
        state_dir=arguments.state_dir,
        dashboard=arguments.dashboard,
        verbose=arguments.verbose,
    )
    up(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, see `serve_app.errors`."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.action(arguments)
    except (StartError, StoreError) as error:
        print(f"slimserve: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
