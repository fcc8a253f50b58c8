"""The protocol's model configuration extension: GET …/config, as Triton's clients read it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from compression.store import TensorSpec
from serve_app.asgi import Handler, Receive, Scope, Send
from serve_app.config import AppConfig, VariantConfig
from serve_app.gateway.discovery import PLATFORMS
from serve_app.gateway.http import respond_json
from serve_app.gateway.served import Served

_BACKENDS = {"onnxruntime": "onnxruntime", "torch": "pytorch"}


class ModelConfigs:
    """The routes of the extension for one model."""

    def __init__(self, config: AppConfig, served: Served) -> None:
        self._config = config
        self._document = served.document
        self._manifests = served.manifests
        self._variants = served.configs

    def routes(self) -> dict[str, dict[str, Handler]]:
        """Handlers by path and method; without a version it is the champion's."""
        base = f"/v2/models/{self._document.name}"
        routes: dict[str, dict[str, Handler]] = {
            f"{base}/config": {"GET": partial(self._get, self._document.champion)}
        }
        for name in self._manifests:
            routes[f"{base}/versions/{name}/config"] = {"GET": partial(self._get, name)}
        return routes

    async def _get(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        await respond_json(send, self.describe(name))

    def describe(self, name: str) -> dict[str, Any]:
        """The variant's configuration.

        `max_batch_size` is the rows a request may have, and tensors are without that dimension;
        it is 0, and they are whole, where a model does not take batches.
        """
        variant = self._variants[name]
        engine = self._manifests[name].runtime.engine
        batched = self._batched((*self._document.inputs, *self._document.outputs))
        return {
            "name": self._document.name,
            "platform": PLATFORMS[engine],
            "backend": _BACKENDS[engine],
            "version_policy": {"specific": {"versions": list(self._manifests)}},
            "max_batch_size": self._config.limits.max_rows if batched else 0,
            "input": [_tensor(spec, batched) for spec in self._document.inputs],
            "output": [_tensor(spec, batched) for spec in self._document.outputs],
            "instance_group": [self._instances(variant)],
            # No timer: what waits when an inference ends goes together.
            "dynamic_batching": {"max_queue_delay_microseconds": 0, **_bounds(variant)},
            "parameters": self._parameters(name, variant),
        }

    def _instances(self, variant: VariantConfig) -> dict[str, Any]:
        deployed = variant.placement == "deployment"
        replicas = variant.num_replicas if deployed else self._config.gateway.num_replicas
        gpu = deployed and variant.num_gpus > 0
        return {
            "name": variant.name if deployed else "Gateway",
            "kind": "KIND_GPU" if gpu else "KIND_CPU",
            "count": replicas,
        }

    def _parameters(self, name: str, variant: VariantConfig) -> dict[str, dict[str, str]]:
        values = {
            "variant": name,
            "placement": variant.placement,
            "precision": self._manifests[name].runtime.precision,
            "intra_op_threads": str(variant.intra_op_threads),
            "decision_threshold": repr(self._manifests[name].decision_threshold),
            "routing_key": self._document.routing_key,
        }
        return {key: {"string_value": value} for key, value in values.items()}

    @staticmethod
    def _batched(specs: Iterable[TensorSpec]) -> bool:
        return all(spec.shape[:1] == (-1,) for spec in specs)


def _bounds(variant: VariantConfig) -> dict[str, Any]:
    """Of batches and queue, as far as they are configured: each server chooses the others."""
    batch, queued = variant.max_batch_rows, variant.max_queued_rows
    bounds: dict[str, Any] = {} if batch is None else {"preferred_batch_size": [batch]}
    return (
        bounds if queued is None else bounds | {"default_queue_policy": {"max_queue_size": queued}}
    )


def _tensor(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    described: dict[str, Any] = {"name": spec.name, "data_type": f"TYPE_{kind}"}
    dims = list(spec.shape[1:] if batched else spec.shape)
    # No dimensions cannot be said but so.
    return {**described, **({"dims": dims} if dims else {"dims": [1], "reshape": {"shape": []}})}
