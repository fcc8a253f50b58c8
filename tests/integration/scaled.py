"""The application in a Ray of its own, with as many gateways as it is told: a program for tests.

    python -m tests.integration.scaled STORE STATE_DIR PORT DATA_PORT

It answers each line of its input with one when that is done: the first when it has started, a
number of gateways, or `anew`, which replaces them. SIGTERM ends it as it ends the launcher.
"""

from __future__ import annotations

import select
import sys

from serve_app.config import AppConfig
from serve_app.launcher.flags import set_flags
from serve_app.launcher.session import ray_session, replicas
from serve_app.launcher.stopping import StopSignal
from tests.support.store import CHAMPION, MODEL

APPLICATION = "slimserve-test"
GATEWAYS = 2
PAUSE_SECONDS = 0.05


def configure(store: str, state_dir: str, data_port: int) -> AppConfig:
    """Two gateways with two variants."""
    gateway = {"num_replicas": GATEWAYS, "num_cpus": 0.1, "data_port": {"port": data_port}}
    return AppConfig.model_validate(
        {
            "store": store, "model": MODEL, "state_dir": state_dir, "gateway": gateway,
            "variants": [{"name": CHAMPION}, {"name": "close"}],
        }
    )  # fmt: skip


def main(store: str, state_dir: str, port: int, data_port: int) -> None:
    """Run until SIGTERM."""
    set_flags({})
    from ray import serve
    from ray.serve._private.common import DeploymentID
    from ray.serve.api import _run
    from ray.serve.context import _get_global_client

    from serve_app.application import app
    from serve_app.controller import GATEWAY

    config = configure(store, state_dir, data_port)

    def deploy() -> None:
        _run(
            app(config), _blocking=False, name=APPLICATION, route_prefix="/",
            external_scaler_enabled=True,
        )  # fmt: skip

    def obey(order: str) -> int:
        """The number of gateways there will be."""
        if order == "anew":
            deploy()
            return GATEWAYS
        client = _get_global_client()
        assert client is not None
        target = DeploymentID(name=GATEWAY, app_name=APPLICATION)
        client._controller.update_deployment_replicas.remote(target, int(order))
        return int(order)

    with StopSignal() as stopped, ray_session(dashboard=False, verbose=False):
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        deploy()
        stopped.again()
        gateways = GATEWAYS
        while not stopped.came():
            # For a moment after an order Ray Serve still reports what was before.
            for _ in range(10):
                stopped.came(PAUSE_SECONDS)
                while replicas(APPLICATION).get(GATEWAY) != {"RUNNING": gateways}:
                    if stopped.came(PAUSE_SECONDS):
                        return
            print("done", flush=True)
            while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
                if stopped.came():
                    return
            gateways = obey(sys.stdin.readline().strip())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
