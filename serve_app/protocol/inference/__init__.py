"""The protocol over gRPC as protobuf: two sources, and what `make stubs` generates from them."""
