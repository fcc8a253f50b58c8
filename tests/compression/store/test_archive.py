from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compression.store import CorruptArtifactError
from compression.store.archive import check_program_archive, strip_sample_inputs

Parts = dict[str, bytes]
Change = Callable[[Parts], object]

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


@pytest.fixture(scope="module")
def saved() -> bytes:
    """As torch.export.save writes it, sample inputs and all."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            one = torch.tensor([1.0])
            return torch.sigmoid(self.linear(x) + self.linear(y) + one).squeeze(1)

    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        Network().eval(),
        (torch.zeros(2, 4), torch.zeros(2, 4)),
        dynamic_shapes={"x": {0: batch}, "y": {0: batch}},
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def clean(saved: bytes) -> bytes:
    return strip_sample_inputs(saved)


def parts_of(content: bytes) -> Parts:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def packed(parts: Parts, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def edit(name: str, change: Callable[[Any], object]) -> Change:
    def apply(parts: Parts) -> None:
        document = json.loads(parts[name])
        change(document)
        parts[name] = json.dumps(document).encode()

    return apply


def add(name: str, content: bytes = b"x") -> Change:
    return lambda parts: parts.update({name: content})


class Payload:
    """Unpickling it would create the file `touched`."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.touched,)


def graph(document: Any) -> Any:
    return document["graph_module"]["graph"]


def symbol(expression: str) -> Change:
    def change(document: Any) -> None:
        sizes = graph(document)["tensor_values"]["x"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": expression, "hint": None}}

    return edit(MODEL, change)


def target(operator: str) -> Change:
    return edit(MODEL, lambda d: graph(d)["nodes"][0].update(target=operator))


def guards(*codes: str) -> Change:
    return edit(MODEL, lambda d: d.update(guards_code=list(codes)))


def first(config: Any) -> Any:
    return next(iter(config["config"].values()))


def in_spec(text: str) -> Change:
    return edit(
        MODEL,
        lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=text),
    )


REFUSED: dict[str, tuple[Change, str]] = {
    "pickled weight": (edit(WEIGHTS, lambda c: first(c).update(use_pickle=True)), "is a pickle"),
    "pickled constant": (edit(CONSTANTS, lambda c: first(c).update(use_pickle=True)), "a pickle"),
    "no word on pickle": (edit(WEIGHTS, lambda c: first(c).pop("use_pickle")), "is a pickle"),
    "script object": (
        edit(CONSTANTS, lambda c: first(c).update(path_name="custom_obj_0")), "not a plain tensor"
    ),
    "opaque object": (
        edit(CONSTANTS, lambda c: first(c).update(path_name="opaque_obj_0")), "not a plain tensor"
    ),
    "path out": (edit(WEIGHTS, lambda c: first(c).update(path_name="../x")), "not a plain tensor"),
    "sample inputs": (add(SAMPLES), "sample inputs, a pickle"),
    "legacy weights": (add("data/weights/model.pt"), "unexpected record"),
    "legacy layout": (add("serialized_state_dict.pt"), "unexpected record"),
    "compiled code": (add("data/aotinductor/model/x.so"), "unexpected record"),
    "record by case": (add("DATA/weights/weight_0"), "unique names|unexpected"),
    "evaluated shape": (symbol("__import__('os').getcwd()"), "more than arithmetic"),
    "evaluated call": (symbol("exec('1')"), "more than arithmetic"),
    "attribute in shape": (symbol("Integer(1).func"), "more than arithmetic"),
    "executed guard": (guards("__import__('os').getcwd()"), "more than a comparison"),
    "guard with method": (guards("L['x'].numpy()"), "more than a comparison"),
    "guard that breaks out": (guards("1) or exit("), "not an expression"),
    "operator": (target("torch.hub.load"), "not one of a plain network"),
    "operator that reads files": (target("torch.ops.aten.from_file.default"), "plain network"),
    "attribute getter": (target("_operator.attrgetter"), "not one of a plain network"),
    "name as code": (
        edit(MODEL, lambda d: graph(d)["inputs"][0]["as_tensor"].update(name="a=exit()")),
        "not an identifier",
    ),
    "argument as code": (
        edit(
            MODEL,
            lambda d: d["graph_module"]["module_call_graph"][0]["signature"].update(
                forward_arg_names=["a):\n exit()"]
            ),
        ),
        "not an identifier",
    ),
    "imported type": (
        in_spec('[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'),
        "of type 'collections.defaultdict'",
    ),
    "imported enumeration": (
        in_spec(
            '[1, {"type": "builtins.dict", "children_spec": [], '
            '"context": "[{\\"\\\\u005f_enum__\\": true, \\"fqn\\": \\"a:b\\"}]"}]'
        ),
        "more than their names",
    ),
    "stack trace": (
        edit(MODEL, lambda d: graph(d)["nodes"][0].update(metadata={"stack_trace": "/home/me"})),
        "other than tensors",
    ),
    "another structure": (edit(WEIGHTS, lambda c: c.pop("config")), "structure"),
    "not json": (add(MODEL, b"{"), "not JSON"),
    "no model": (lambda parts: parts.pop(MODEL), "is missing"),
    "another format": (add("archive_format", b"zip"), "does not say pt2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_run_or_unpickle_is_refused(clean: bytes, case: str) -> None:
    change, message = REFUSED[case]
    parts = parts_of(clean)
    change(parts)
    with pytest.raises(CorruptArtifactError, match=message):
        check_program_archive(packed(parts))


def test_what_torch_would_unpickle_is_refused_and_not_touched(
    saved: bytes, clean: bytes, tmp_path: Path
) -> None:
    """The attack works on torch itself, and neither function of ours falls for it."""
    import torch

    touched = tmp_path / "touched"
    parts = parts_of(saved)
    parts[SAMPLES] = pickle.dumps(Payload(touched))
    attack = packed(parts)
    with pytest.raises(CorruptArtifactError, match="sample inputs"):
        check_program_archive(attack)
    harmless = strip_sample_inputs(attack)
    assert harmless == clean
    torch.export.load(io.BytesIO(harmless))
    assert not touched.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 - torch fails after it was had
        torch.export.load(io.BytesIO(attack))
    assert touched.exists()


def test_a_stripped_program_is_accepted_and_computes_the_same(saved: bytes, clean: bytes) -> None:
    import torch

    check_program_archive(clean)
    assert strip_sample_inputs(clean) == clean
    assert b"stack_trace" not in clean
    inputs = torch.rand(3, 4), torch.rand(3, 4)
    before = torch.export.load(io.BytesIO(saved)).module()(*inputs)
    after = torch.export.load(io.BytesIO(clean)).module()(*inputs)
    assert torch.equal(before, after)


def test_sample_inputs_are_refused_before_they_are_stripped(saved: bytes) -> None:
    with pytest.raises(CorruptArtifactError, match=r"strip_sample_inputs\(\)"):
        check_program_archive(saved)


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x05\x06" + b"\0" * 18])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(CorruptArtifactError):
        check_program_archive(content)


def test_compressed_and_doubled_records_are_refused(clean: bytes) -> None:
    with pytest.raises(CorruptArtifactError, match="compressed"):
        check_program_archive(packed(parts_of(clean), zipfile.ZIP_DEFLATED))
    buffer = io.BytesIO(clean)
    with (
        zipfile.ZipFile(buffer, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(CorruptArtifactError, match="unique names"):
        check_program_archive(buffer.getvalue())
