"""Judge models by what they say about the same rows: questions, thresholds, quality.

The head turns outputs into trials, see `compression.heads.base`; everything from there on is the
same for every workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from compression.heads import Trials
from compression.heads.base import Array
from compression.quality.answers import Answers
from compression.quality.assess import assess
from compression.quality.bootstrap import PairedIntervals, paired_intervals
from compression.quality.calibration import alert_rate, threshold_for_alert_rate
from compression.quality.evidence import evidence_of
from compression.quality.segments import by_segment
from compression.store import Quality, Segment, VariantEvidence
from compression.workloads.base import Workload
from compression.workloads.segmented import segments_of
from compression.workloads.windows import WeightedRows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Examination:
    """Rows on which models are judged. `outputs` arguments are float32[len(rows), …] by model."""

    workload: Workload
    rows: WeightedRows
    replicates: int = 500
    seed: int = 0

    def trials(self, outputs: Array) -> Trials:
        """The questions and one model's answers."""
        return self.workload.head.trials(outputs, self.workload.labels[self.rows.rows])

    def scores(self, outputs: Mapping[str, Array]) -> dict[str, Floats]:
        """The answers of each model, float32[trials]."""
        return {name: self.trials(given).scores for name, given in outputs.items()}

    def thresholds(
        self, outputs: Mapping[str, Array], reference: str, threshold: float
    ) -> dict[str, float]:
        """Each model's threshold for as many alerts as `reference` raises at `threshold`.

        For rows of the validation window: whoever chooses on test rows judges nobody.
        """
        asked = self.trials(outputs[reference])
        weights = self.rows.weights[asked.rows]
        rate = alert_rate(asked.scores, threshold, weights)
        return {
            name: threshold
            if name == reference
            else threshold_for_alert_rate(scores, rate, weights)
            for name, scores in self.scores(outputs).items()
        }

    def qualities(
        self,
        outputs: Mapping[str, Array],
        thresholds: Mapping[str, float],
        reference: str,
        description: str,
        parents: Mapping[str, str] | None = None,
        segments: Mapping[str, tuple[Segment, ...]] | None = None,
    ) -> dict[str, Quality]:
        """Quality of each model, with intervals paired by group; `segments` as below."""
        asked = self._asked(outputs)
        return assess(
            asked.labels,
            self.scores(outputs),
            thresholds,
            reference,
            self._groups[asked.rows],
            self._days[asked.rows],
            self._weights(asked),
            test_description=description,
            replicates=self.replicates,
            seed=self.seed,
            parents=parents,
            segments=segments,
        )

    def segments(
        self, outputs: Mapping[str, Array], thresholds: Mapping[str, float], reference: str
    ) -> dict[str, tuple[Segment, ...]]:
        """Figures by segment of the models that have a threshold; none without divisions."""
        asked = self._asked(outputs)
        divisions = {
            name: division.of_rows(asked.rows)
            for name, division in segments_of(self.workload, self.rows.rows).items()
        }
        return by_segment(
            self._answers(outputs, thresholds, reference),
            divisions,
            replicates=self.replicates,
            seed=self.seed,
        )

    def evidence(
        self,
        outputs: Mapping[str, Array],
        thresholds: Mapping[str, float],
        reference: str,
        segments: Mapping[str, tuple[Segment, ...]],
    ) -> dict[str, VariantEvidence]:
        """What the model card shows of each model; `segments` as `segments` gives them."""
        answers = self._answers(outputs, thresholds, reference)
        return evidence_of(answers, tuple(outputs), segments)

    def _answers(
        self, outputs: Mapping[str, Array], thresholds: Mapping[str, float], reference: str
    ) -> Answers:
        asked = self._asked(outputs)
        return Answers(
            asked.labels,
            self.scores(outputs),
            thresholds,
            reference,
            self._groups[asked.rows],
            self._weights(asked),
        )

    def intervals(self, outputs: Mapping[str, Array], reference: str) -> dict[str, PairedIntervals]:
        """Ranking metrics and their ratios to `reference`, by model."""
        asked = self._asked(outputs)
        return paired_intervals(
            asked.labels,
            self.scores(outputs),
            reference,
            self._groups[asked.rows],
            self._weights(asked),
            replicates=self.replicates,
            seed=self.seed,
        )

    def _asked(self, outputs: Mapping[str, Array]) -> Trials:
        """The questions are the same for all models."""
        return self.trials(next(iter(outputs.values())))

    def _weights(self, asked: Trials) -> npt.NDArray[np.float64] | None:
        return None if self.rows.complete else self.rows.weights[asked.rows]

    @cached_property
    def _groups(self) -> npt.NDArray[np.int32]:
        return self.workload.groups[self.rows.rows]

    @cached_property
    def _days(self) -> npt.NDArray[np.int32]:
        return self.workload.days[self.rows.rows]
