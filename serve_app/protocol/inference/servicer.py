"""What Ray Serve's gRPC servers are given: the service's methods, and its description.

Only for servers: a process that also imports another client's stubs cannot load this module.
"""

from __future__ import annotations

from typing import Any

# The description, `service_pb2`, is imported for server reflection: grpcurl finds the service.
from serve_app.protocol.inference import service_pb2 as service_pb2
from serve_app.protocol.inference.service_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)


def add_servicer(servicer: Any, server: Any) -> None:
    """Add the service to a gRPC server."""
    add_GRPCInferenceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
