"""PyTorch exported programs (`model.pt2`). torch is imported only where one is served."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from compression.store import CorruptArtifactError
from compression.store.archive import check_program_archive, strip_sample_inputs
from serve_app.runners.base import Arrays, Aside


def devices() -> list[str]:
    """PyTorch's names of where programs can be computed here, the CPU first."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


class ProgramRunner:
    """Runs a program saved by `torch.export.save`, on the CPU or the first GPU."""

    platform = "pytorch_export"

    def __init__(
        self,
        artifact: bytes,
        inputs: Sequence[str],
        outputs: Sequence[str],
        threads: int,
        *,
        device: str | None = None,
    ) -> None:
        """`inputs` and `outputs` are names in the order of the program's arguments and results;
        `device` is PyTorch's name of where to compute, by default the first GPU if there is one.

        Raises:
            CorruptArtifactError: the archive holds more than tensors and a graph of known
                operators, or torch cannot open it.
        """
        check_program_archive(artifact)
        # What is opened is written anew from the parts that were checked.
        checked = strip_sample_inputs(artifact)
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._device = torch.device(device or devices()[-1])
        try:
            program = torch.export.load(io.BytesIO(checked))
            self._module = program.module().to(self._device)
        except Exception as error:
            raise CorruptArtifactError(f"torch cannot open the program: {error}") from error
        self.parallel = self._device.type == "cpu"
        self._by_name = program.call_spec.in_spec.child(1).num_children > 0
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self.detail = f"torch {torch.__version__}, {self._device}, {threads} thread(s)"

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        torch = self._torch
        with torch.inference_mode():
            tensors = {name: torch.as_tensor(_writable(inputs[name])) for name in self._inputs}
            if self._device.type != "cpu":
                tensors = {name: tensor.to(self._device) for name, tensor in tensors.items()}
            result = self._module(**tensors) if self._by_name else self._module(*tensors.values())
            if isinstance(result, Mapping):
                values = [result[name] for name in self._outputs]
            else:
                values = [result] if isinstance(result, torch.Tensor) else list(result)
            return {
                name: value.cpu().numpy() for name, value in zip(self._outputs, values, strict=True)
            }

    def aside(self, artifact: bytes) -> Aside | None:
        """See `Runner.aside`."""
        return None

    def warm_up(self, batch_of: Callable[[int], Arrays], rows: int) -> bool:
        """See `Runner.warm_up`."""
        self.run(batch_of(rows))
        return False


def _writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array that torch may take over: it has no tensors that cannot be written to."""
    return array if array.flags.writeable else array.copy()
