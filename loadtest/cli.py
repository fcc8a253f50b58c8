"""`python -m loadtest`: run, compare, report and saturate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pydantic import ValidationError

from loadtest import compare as comparing
from loadtest import openloop, saturate
from loadtest.arrivals import ARRIVALS
from loadtest.bench import benchmark, layers
from loadtest.bench.options import QUICK, QUICK_OVERLOAD, BenchOptions, OverloadOptions
from loadtest.console import ERRORS, OUT, table
from loadtest.cores import parse_cores
from loadtest.errors import InvalidRunError, LoadTestError, OptionError
from loadtest.format import rate, seconds
from loadtest.generator import Setup
from loadtest.ledger import write_whole
from loadtest.measurement import ProbeSpec
from loadtest.plan import PROFILES
from loadtest.report import ReportOptions, make_report
from loadtest.serving import serving
from loadtest.store import Store
from loadtest.validity import Limits

_DEFAULT_URL = "http://127.0.0.1:8000"
_DEFAULT_STORE = "out/demo/store"
_DEFAULT_PRICES = Path(__file__).parents[1] / "deploy" / "prices.yaml"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    _add_run(commands.add_parser("run", help="one open-loop run against one variant"))
    _add_compare(commands.add_parser("compare", help="measure every variant, write the report"))
    _add_report(commands.add_parser("report", help="write the report of a finished comparison"))
    _add_saturate(commands.add_parser("saturate", help="closed-loop throughput of any URL"))
    _add_bench_serving(
        commands.add_parser("bench-serving", help="slimserve beside other ways to serve a file")
    )
    _add_profile(commands.add_parser("profile", help="what a request's time is spent on"))
    return top


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", default=_DEFAULT_URL, help="server (default: %(default)s)")
    command.add_argument("--store", default=_DEFAULT_STORE, help="store (default: %(default)s)")
    command.add_argument("--model", default="fraud", help="model's name (default: %(default)s)")
    command.add_argument("--rows", type=int, default=1, help="rows per request")
    command.add_argument("--slo-seconds", type=float, default=0.05, help="p99 to be held")
    command.add_argument("--arrival", choices=sorted(ARRIVALS), default="poisson")
    command.add_argument("--seed", type=int, default=0)


def _add_run(command: argparse.ArgumentParser) -> None:
    _add_target(command)
    command.add_argument("--variant", default="", help="empty leaves the choice to the router")
    command.add_argument("--rate", type=float, required=True, help="requests per second")
    command.add_argument("--duration", type=float, default=10.0, help="seconds")
    command.add_argument("--max-in-flight", type=int, default=256, help="size of the pool")
    command.add_argument("--json", type=Path, help="write the whole result here")
    command.set_defaults(action=_run)


def _add_compare(command: argparse.ArgumentParser) -> None:
    _add_target(command)
    command.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the results")
    command.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    command.add_argument("--budget-seconds", type=float, help="time for all of it")
    command.add_argument("--rounds", type=int, help="repeats of each variant, interleaved")
    command.add_argument("--variants", nargs="+", default=[], help="default: all in the store")
    command.add_argument("--fresh", action="store_true", help="do not go on from saved results")
    command.add_argument("--serve", help="command that starts the server, for as long as it takes")
    _add_prices(command)
    command.set_defaults(action=_compare)


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of load.json")
    command.add_argument("--store", help="store, where it has moved since the comparison")
    _add_prices(command)
    command.set_defaults(action=_report)


def _add_prices(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prices", type=Path, default=_DEFAULT_PRICES, help="price file")
    command.add_argument(
        "--price", nargs="+", default=[], metavar="[VARIANT=]NAME",
        help="entry of the price file, for all variants or for one (default: the first)",
    )  # fmt: skip


def _add_saturate(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", required=True, help="full URL that is posted to")
    command.add_argument("--body", type=Path, required=True, help="file with the request body")
    command.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    command.add_argument("--duration", type=float, default=5.0, help="seconds each")
    command.add_argument("--client", choices=("auto", "wrk", "own"), default="auto")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(action=_saturate)


def _add_bench_serving(command: argparse.ArgumentParser) -> None:
    defaults = BenchOptions.model_fields
    overload = OverloadOptions()
    command.add_argument("--store", type=Path, default=Path(_DEFAULT_STORE), help="local folder")
    command.add_argument("--model", default="fraud")
    command.add_argument("--variant", default="distilled-int8", help="an ONNX variant")
    command.add_argument("--out", type=Path, default=Path("out/bench-serving"))
    command.add_argument("--port", type=int, default=defaults["port"].default)
    command.add_argument("--data-port", type=int, default=defaults["data_port"].default)
    command.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    command.add_argument("--binary-connections", type=int, nargs="+", default=[16, 64])
    command.add_argument("--rounds", type=int, help="restarts of each server (default: 5)")
    command.add_argument("--duration", type=float, help="seconds each (default: 4)")
    command.add_argument("--gateways", type=int, default=1, help="gateway replicas of slimserve")
    command.add_argument("--only", nargs="+", default=[], help="contenders (default: all)")
    command.add_argument("--overload-runs", type=int, help=f"default: {overload.runs}; 0: none")
    command.add_argument("--overload-seconds", type=float, help=f"default: {overload.seconds:g}")
    command.add_argument("--deadline-seconds", type=float, default=overload.deadline_seconds)
    command.add_argument("--server-cores", help="cores of every server, as in 0,1 (default: any)")
    command.add_argument("--gateway-cores", help="of these, slimserve's gateways' alone, as in 0")
    command.add_argument("--load-cores", help="cores of wrk or our client, as in 2-15")
    command.add_argument("--quick", action="store_true", help="two rounds of seconds; to try it")
    command.set_defaults(action=_bench_serving)


def _add_profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", type=Path, default=Path(_DEFAULT_STORE), help="local folder")
    command.add_argument("--model", default="fraud")
    command.add_argument("--variant", default="distilled-int8", help="an ONNX variant")
    command.add_argument("--out", type=Path, default=Path("out/profile"))
    command.add_argument("--port", type=int, default=8000, help="and the one after it")
    command.add_argument("--data-port", type=int, default=8080, help="slimserve's own")
    command.add_argument("--connections", type=int, default=16, help="for requests per second")
    command.add_argument("--rounds", type=int, default=5)
    command.add_argument("--duration", type=float, default=3.0, help="seconds each")
    command.set_defaults(action=_profile)


def _profile(options: argparse.Namespace) -> None:
    layers.profile(
        BenchOptions(
            store=options.store,
            model=options.model,
            variant=options.variant,
            out=options.out,
            port=options.port,
            data_port=options.data_port,
            connections=(options.connections,),
            rounds=options.rounds,
            seconds=options.duration,
        )
    )


def _bench_serving(options: argparse.Namespace) -> None:
    overload = QUICK_OVERLOAD if options.quick else OverloadOptions()
    given = {
        "runs": options.overload_runs,
        "seconds": options.overload_seconds,
        "deadline_seconds": options.deadline_seconds,
    }
    rounds = {"rounds": options.rounds, "seconds": options.duration}
    benchmark.bench(
        BenchOptions.model_validate(
            {
                "store": options.store,
                "model": options.model,
                "variant": options.variant,
                "out": options.out,
                "port": options.port,
                "data_port": options.data_port,
                "connections": options.connections,
                "binary_connections": options.binary_connections,
                "cores": {
                    "server": _cores("--server-cores", options.server_cores),
                    "gateways": _cores("--gateway-cores", options.gateway_cores),
                    "load": _cores("--load-cores", options.load_cores),
                },
                "gateways": options.gateways,
                "only": options.only,
                **(QUICK if options.quick else {}),
                **{name: value for name, value in rounds.items() if value is not None},
                "overload": {
                    **overload.model_dump(),
                    **{name: value for name, value in given.items() if value is not None},
                },
            }
        )
    )


def _cores(option: str, text: str | None) -> tuple[int, ...]:
    return () if text is None else parse_cores(option, text)


def _run(options: argparse.Namespace) -> None:
    setup = Setup(
        url=options.url,
        model=options.model,
        store=options.store,
        rows=options.rows,
        seed=options.seed,
    )
    spec = ProbeSpec(
        variant=options.variant,
        rate_per_second=options.rate,
        duration_seconds=options.duration,
        arrival=options.arrival,
        seed=options.seed,
        max_in_flight=options.max_in_flight,
    )
    result = openloop.run(setup, spec, Limits(slo_seconds=options.slo_seconds))
    if options.json:
        write_whole(options.json, result.model_dump_json(indent=1))
    run = result.measurement
    OUT.print(
        f"{rate(run.achieved_rate_per_second)} of {rate(spec.rate_per_second)} req/s, "
        f"{run.ok} ok, {run.rejected} rejected, {run.failed} failed, {run.dropped} dropped",
        highlight=False,
    )
    for name in ("response", "service", "lag"):
        figures = getattr(run, name)
        OUT.print(
            f"{name:9} p50 {seconds(figures.p50_seconds)}  p90 {seconds(figures.p90_seconds)}  "
            f"p99 {seconds(figures.p99_seconds)}  p99.9 {seconds(figures.p999_seconds)}"
            + ("" if result.p999_sufficient else "  (too few samples for p99.9)"),
            highlight=False,
        )
    if not result.valid:
        raise InvalidRunError("this run is not valid: " + "; ".join(result.reasons))


def _compare(options: argparse.Namespace) -> None:
    report = ReportOptions(out=options.out, prices=options.prices, price=tuple(options.price))
    report.check().check_variants(Store(options.store, options.model).manifests())
    request = comparing.Request(
        url=options.url.rstrip("/"),
        store=options.store,
        model=options.model,
        out=options.out,
        variants=tuple(options.variants),
        profile=options.profile,
        slo_seconds=options.slo_seconds,
        budget_seconds=options.budget_seconds,
        rounds=options.rounds,
        rows=options.rows,
        arrival=options.arrival,
        seed=options.seed,
        fresh=options.fresh,
    )
    ready = f"{request.url}/v2/health/ready"
    server = serving(options.serve, ready, options.out / "serve.log") if options.serve else None
    with server or nullcontext(None) as start_seconds:
        if start_seconds is not None:
            OUT.print(f"server ready after {start_seconds:.1f} s", highlight=False)
        comparing.compare(request, lambda text: OUT.print(text, highlight=False))
    _finish(report)


def _report(options: argparse.Namespace) -> None:
    _finish(
        ReportOptions(
            out=options.out, store=options.store, prices=options.prices, price=tuple(options.price)
        )
    )


def _finish(options: ReportOptions) -> None:
    made = make_report(options)
    OUT.print(table(made.rows, OUT.width))
    OUT.print(f"report: {made.html}", highlight=False, soft_wrap=True)
    OUT.print(made.headline, highlight=False, style="bold")


def _saturate(options: argparse.Namespace) -> None:
    saturate.run(
        options.url,
        options.body,
        options.connections,
        options.duration,
        client=options.client,
        as_json=options.json,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        options.action(options)
    except ValidationError as error:
        first = error.errors()[0]
        ERRORS.print(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", style="red")
        return OptionError.exit_code
    except LoadTestError as error:
        ERRORS.print(str(error), style="red", highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
