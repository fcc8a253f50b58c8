"""What is said about an exported folder: its README, and a line for the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

from compression.edge.compatibility import TARGET, WEB_VERSION
from compression.edge.document import SAMPLES, EdgeDocument
from compression.edge.javascript import JAVASCRIPT_TYPES
from compression.store.manifest import TensorSpec


def instructions(edge: EdgeDocument) -> str:
    """What an app's developer needs to know: how to run the model and how to check a port."""
    feeds = ",\n".join(f"  {json.dumps(spec.name)}: {_tensor(spec)}" for spec in edge.inputs)
    return f"""# {edge.model} / {edge.variant}

`{edge.file.path}` runs on {TARGET}, which it was checked against.
ONNX Runtime for Android and iOS opens the same file.
`npm install onnxruntime-web@{WEB_VERSION}`, then, with a request as in `{SAMPLES}`:

```js
import * as ort from "onnxruntime-web/wasm";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("{edge.file.path}");
const answer = await session.run({{
{feeds},
}});
{_decided(edge)}
```

`{SAMPLES}` holds held-out requests (`inputs`), what the server answers them (`outputs`) and, where
the output is one value, the decision (`alert`): run them through your port before you ship it.
Float models differ by less than 0.0001; int8 kernels round differently from one processor to the
next, so compare decisions.

The model needs up to {edge.memory.peak_bytes:,} bytes of memory on top of the runtime's own.
Quality gate: {_gate(edge)}.
`edge.json` has all figures and their meaning.
"""


def summary(edge: EdgeDocument, folder: Path) -> str:
    """What the command line prints of a finished export, with a line end."""
    return (
        f"{folder}: {edge.model}/{edge.variant} as {edge.file.path}, {edge.file.bytes:,} bytes; "
        f"up to {edge.memory.peak_bytes:,} bytes of memory on top of the runtime's own; "
        f"quality gate: {edge.gate.verdict}\n"
    )


def _tensor(spec: TensorSpec) -> str:
    kind = JAVASCRIPT_TYPES[spec.datatype]
    shape = ", ".join(str(1 if size < 0 else size) for size in spec.shape)
    convert = ", BigInt" if kind.array.startswith("Big") else ""
    values = f"{kind.array}.from(request.inputs[{json.dumps(spec.name)}]{convert})"
    return f'new ort.Tensor("{kind.name}", {values}, [{shape}])'


def _decided(edge: EdgeDocument) -> str:
    """The line that reads the answer; with several values to it the decision is the app's own."""
    (output,) = (spec for spec in edge.outputs if spec.name == edge.decision.output)
    values = f"answer[{json.dumps(output.name)}].data"
    if math.prod(output.shape[1:]) > 1:
        return f"const values = {values};"
    return f"const alert = {values}[0] >= {edge.decision.threshold!r};"


def _gate(edge: EdgeDocument) -> str:
    if edge.allowed_failed_gate:
        return "**failed**; this variant was exported all the same"
    return edge.gate.verdict
