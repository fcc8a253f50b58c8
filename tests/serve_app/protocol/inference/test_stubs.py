from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[4]
SOURCES = "serve_app/protocol/inference"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make stubs` writes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("stubs")
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", "."]
    both = [f"{SOURCES}/messages.proto", f"{SOURCES}/service.proto"]
    for arguments in (
        [f"--python_out={folder}", f"--pyi_out={folder}", *both],
        [f"--grpc_python_out={folder}", both[1]],
    ):
        subprocess.run([*protoc, *arguments], cwd=REPOSITORY, check=True, timeout=60)
    return folder / SOURCES


def test_the_stubs_are_what_the_sources_generate(generated: Path) -> None:
    committed = REPOSITORY / SOURCES
    names = sorted(path.name for path in generated.iterdir())
    assert names == sorted(path.name for path in committed.glob("*_pb2*"))
    for name in names:
        assert (committed / name).read_text() == (generated / name).read_text(), (
            f"{name} is out of date: make stubs"
        )


PROGRAM = """
import tritonclient.grpc.service_pb2 as theirs
from serve_app.protocol.inference import messages_pb2 as ours

names = [name for name in dir(ours) if name.endswith(("Request", "Response"))]
assert len(names) == 12, names

def fields(message):
    return [
        (field.name, field.number, field.type, field.is_repeated,
         fields(field.message_type) if field.message_type else None)
        for field in message.fields
    ]

for name in names:
    assert fields(getattr(ours, name).DESCRIPTOR) == fields(getattr(theirs, name).DESCRIPTOR), name
"""


def test_the_messages_are_tritons_and_live_beside_them_in_one_process() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, check=True, timeout=60)
