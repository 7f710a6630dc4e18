"""How much of an evaluation is computed: all of it for a report, what is compared for a study."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.evaluation.regimes import REGIMES
from omnisage.evaluation.retrieval import MODEL, MODEL_CONTENT


@dataclass(frozen=True)
class Scope:
    """What is measured; the model always is. The defaults are everything."""

    baselines: Collection[str] | None = None  # methods beside the model; None: all that apply
    regimes: Collection[str] = REGIMES
    downstream: bool = True  # the ranking model with and without embeddings
    smaller: bool = True  # what prefixes and codes keep
    item_knn: Mapping[str, ItemKnnSettings] | None = None  # chosen before for these tables; None: they are chosen

    def has(self, method: str) -> bool:
        """Whether a method is measured."""
        return self.baselines is None or method in (MODEL, MODEL_CONTENT) or method in self.baselines


EVERYTHING = Scope()
