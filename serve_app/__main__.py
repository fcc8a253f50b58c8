"""`python -m serve_app up`: start Ray, serve a store, say where everything is, stop cleanly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compression.store import StoreError
from serve_app.errors import StartError


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
    up.add_argument("--ready-file", type=Path, help="JSON file to write once requests are answered")
    up.add_argument("--state-dir", help="where routing tables are kept (default: the config's)")
    up.add_argument(
        "--dashboard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="also start Ray's dashboard",
    )
    up.add_argument("--verbose", action="store_true", help="show the logs of Ray's processes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, see `serve_app.errors`."""
    arguments = _parser().parse_args(argv)
    from serve_app.launcher.up import Options, up

    options = Options(
        config=arguments.config,
        store=arguments.store,
        model=arguments.model,
        port=arguments.port,
        grpc_port=arguments.grpc_port,
        ready_file=arguments.ready_file,
        state_dir=arguments.state_dir,
        dashboard=arguments.dashboard,
        verbose=arguments.verbose,
    )
    try:
        up(options)
    except (StartError, StoreError) as error:
        print(f"slimserve: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
