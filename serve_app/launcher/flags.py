"""Environment of a fast Ray Serve. Processes read it when they start, so it is set before Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping

FLAGS: Mapping[str, str] = {
    # HAProxy in front of the replicas' own HTTP servers, one event loop for router and user code,
    # gRPC between deployments: 8 times the default's throughput for a small model.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Throughput mode holds back 1,000 records, and a killed replica's are lost. Without an access
    # log there is nothing to write in a request that goes well.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # Workers run at nice 15 by default: next to any busy process the tail suffers.
    "RAY_worker_niceness": "0",
    # Ingress replicas drain for 30 s by default.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "5",
    # A request that a dying gateway swallowed goes to another one: an inference may be repeated,
    # and a change of the routing table is a compare-and-swap. Once, for it may be what killed it.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_RETRIES": "1",
    # A gRPC message of 2 GB would be read before the gateway could refuse it.
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(64 << 20),
    # Housekeeping of 5 to 60 ms in one piece, which requests of the same cores wait behind: by
    # default the controller looks at its deployments ten times a second, each process hands in
    # its metrics every 10 s, and what the machine's processes use is counted every 5 s.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_metrics_report_interval_ms": "60000",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Leaves CUDA_VISIBLE_DEVICES of replicas without a GPU empty, as we rely on, and says so once.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


_SHED = (
    """http-request return status 429 content-type application/json hdr retry-after 1 """
    """string '{"error":"too many requests are being answered: try again"}' """
    "if { path_end /infer /score } { be_conn gt %d }"
)


def haproxy_shedding(most_requests: int) -> dict[str, str]:
    """HAProxy answers 429 itself to predictions beyond so many at once, whatever it is asked else.

    To refuse a request costs a replica's Python most of what answering it costs: parsing, and
    Ray's wrapper around it. Offered three times its capacity, a replica that sheds by itself does
    little else, and all that it accepts is late (measured: 4 % of the capacity within a second,
    and no recovery while the queue in its sockets lasts). Ray Serve 2.60 has no setting for a rule
    of HAProxy's, but passes this value on into the `default-server` line of each backend as it is:
    so the rule goes in as further lines, and the last of them takes up what Ray writes after it.
    """
    interval = "250ms"  # Ray's own default, which the value is meant to hold
    rule = _SHED % most_requests
    return {
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_DOWNINTER": (f"{interval}\n    {rule}\n    default-server")
    }


def haproxy_side_ports(stats_port: int, metrics_port: int) -> dict[str, str]:
    """HAProxy's ports beside the one for requests; every run of a machine has the same else."""
    return {
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
    }


def set_flags(more: Mapping[str, str]) -> None:
    """Put the flags into this process's environment; what is set already stays."""
    for name, value in {**FLAGS, **more}.items():
        os.environ.setdefault(name, value)


_TRUE = ("1", "true")
_COSTS: Mapping[str, str] = {
    "RAY_SERVE_ENABLE_HA_PROXY": "every request passes Ray's Python proxy",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "calls cross event loops and go through actor tasks",
    "RAY_worker_niceness": "workers run at nice 15, behind any other busy process",
}


def explain_missing(environment: Mapping[str, str]) -> str | None:
    """What the flags that are not set cost, as one line; None where the costly ones are set.

    To be asked in a replica: its environment is what Ray was started with.
    """
    missing = [name for name in _COSTS if not _is_set(name, environment.get(name))]
    if not missing:
        return None
    costs = "; ".join(f"{name}={FLAGS[name]} ({_COSTS[name]})" for name in missing)
    return (
        f"slow: Ray was started without {costs}. Without all three a small model has about an "
        "eighth of the throughput: set them before 'ray start' or 'serve run', as "
        "deploy/serve.yaml says, or use 'python -m serve_app up'"
    )


def _is_set(name: str, value: str | None) -> bool:
    if value is None:
        return False
    if FLAGS[name] == "0":
        return value.lstrip("-").isdigit() and int(value) <= 0
    return value.lower() in _TRUE
