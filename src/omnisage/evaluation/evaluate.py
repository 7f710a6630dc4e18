"""Measures a held-out part: every task, regime and method, in one place for the stage and for experiments."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from omnisage.baselines.item_knn import ItemKnnSettings
from omnisage.baselines.links import training_links
from omnisage.embeddings.artifact import Embeddings
from omnisage.errors import OmnisageError
from omnisage.evaluation.beyond import BeyondRecord
from omnisage.evaluation.categories import first_category_feature
from omnisage.evaluation.cold_queries import cold_retrievals
from omnisage.evaluation.config import EvaluationConfig
from omnisage.evaluation.feature_queries import feature_retrievals
from omnisage.evaluation.item_knn_choice import choose_item_knn
from omnisage.evaluation.pair_queries import pair_retrievals
from omnisage.evaluation.probe import Probe, probe
from omnisage.evaluation.records import Record, SliceRecord
from omnisage.evaluation.retrieval import Measurement, Retrieval, measure
from omnisage.evaluation.scope import EVERYTHING, Scope
from omnisage.evaluation.slices import entity_slices
from omnisage.evaluation.smaller import SmallerRecord, measure_smaller
from omnisage.evaluation.user_queries import USER_TASKS, tuned_key, user_retrievals, user_tasks
from omnisage.progress import track
from omnisage.tables.artifact import Tables
from omnisage.tables.leaks import find_leaks


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one part."""

    part: str
    item_knn: dict[str, ItemKnnSettings]  # "<task>: <sequence>" -> what was chosen on the validation users
    records: list[Record]
    differences: list[Record]  # model minus each baseline, paired
    slices: list[SliceRecord]  # what the records' slices are
    beyond_accuracy: list[BeyondRecord]  # what is recommended, right or wrong
    downstream: list[Record]  # a ranking model with and without embeddings; only of the test
    smaller: list[SmallerRecord]  # what smaller embeddings keep
    unit_values: pa.Table  # the values of every user and query entity, of which records are means (docs/formats.md)
    downstream_values: pa.Table | None  # the same of downstream, in its own metrics; None where it was not measured

    def as_json(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            "part": self.part,
            "item_knn": {name: asdict(settings) for name, settings in self.item_knn.items()},
            "records": [asdict(record) for record in self.records],
            "differences": [asdict(record) for record in self.differences],
            "slices": [asdict(part) for part in self.slices],
            "downstream": [asdict(record) for record in self.downstream],
            "beyond_accuracy": [asdict(record) for record in self.beyond_accuracy],
            "smaller": [asdict(record) for record in self.smaller],
        }


def evaluate(
    tables: Tables,
    embeddings: Embeddings,
    part: str,
    *,
    config: EvaluationConfig | None = None,
    seed: int = 0,
    learned: Mapping[str, Embeddings] | None = None,
    scope: Scope = EVERYTHING,
) -> Evaluation:
    """Measure the model and the baselines on held-out users and pairs.

    Args:
        tables: the `tables` artifact.
        embeddings: the `embeddings` artifact of these tables.
        part: `validation` or `test`.
        config: what is measured; by default the defaults.
        seed: of the random candidates and the bootstrap.
        learned: `embeddings` artifacts of baselines, by method; each is a method of the tasks that it has vectors for.
        scope: what of all this is computed.

    Raises:
        OmnisageError: the training files hold something of the held-out parts, or the embeddings do not fit.

    Example:
        evaluation = evaluate(open_tables(tables), open_embeddings(embeddings), "validation")
    """
    if part not in ("validation", "test"):
        raise OmnisageError(f"part is '{part}'; give 'validation' or 'test'")
    config = config or EvaluationConfig()
    _refuse_leaks(tables)
    _refuse_other_entities(tables, embeddings, list(tables.num_entities), command="embeddings")
    learned = learned or {}
    for name, vectors in learned.items():
        _refuse_other_entities(tables, vectors, list(vectors.entities), command=f"baseline {name} --force")
    masks = config.mask_history
    item_knn = dict(_choose_item_knn(tables, config) if scope.item_knn is None else scope.item_knn)
    retrievals = _retrievals(tables, embeddings, part, masks, item_knn, learned)
    asked = [_within(scope, retrieval) for retrieval in retrievals if len(retrieval.positives)]
    with track(f"evaluation ({part})", sum(len(r.positives) for r in asked), "queries") as advance:
        measurements = [_measure(tables, r, config, seed=seed, advance=advance, scope=scope) for r in asked]
    wants_downstream = scope.downstream and part == "test"
    probed = _downstream(tables, embeddings, item_knn, config, seed) if wants_downstream else []
    return Evaluation(
        part,
        item_knn,
        records=[record for measured in measurements for record in measured.records],
        differences=[record for measured in measurements for record in measured.differences],
        slices=[part for measured in measurements for part in measured.slices],
        beyond_accuracy=[record for measured in measurements for record in measured.beyond_accuracy],
        downstream=[record for of_sequence in probed for record in of_sequence.records],
        smaller=measure_smaller(tables, embeddings, part, k=config.ks[0], mask_history=masks, seed=seed)
        if scope.smaller
        else [],
        unit_values=pa.concat_tables([measured.unit_values for measured in measurements]),
        downstream_values=pa.concat_tables([of_sequence.unit_values for of_sequence in probed]) if probed else None,
    )


def _choose_item_knn(tables: Tables, config: EvaluationConfig) -> dict[str, ItemKnnSettings]:
    k, masks = config.ks[0], config.mask_history
    asked = [(name, task) for name in tables.sequences for task in user_tasks(tables)]
    return {tuned_key(task, name): choose_item_knn(tables, name, task, k=k, mask_history=masks) for name, task in asked}


def _within(scope: Scope, retrieval: Retrieval) -> Retrieval:
    scorers = {method: scorer for method, scorer in retrieval.scorers.items() if scope.has(method)}
    return replace(retrieval, scorers=scorers)


def _measure(
    tables: Tables,
    retrieval: Retrieval,
    config: EvaluationConfig,
    *,
    seed: int,
    advance: Callable[[int], None],
    scope: Scope,
) -> Measurement:
    slices = entity_slices(tables, retrieval.entity_type, retrieval.popularity)
    categories = first_category_feature(tables, retrieval.entity_type)
    return measure(
        retrieval,
        config,
        slices=slices,
        categories=categories,
        seed=seed,
        advance=advance,
        regimes=scope.regimes,
    )


def _retrievals(
    tables: Tables,
    embeddings: Embeddings,
    part: str,
    masks: bool,
    item_knn: Mapping[str, ItemKnnSettings],
    learned: Mapping[str, Embeddings],
) -> list[Retrieval]:
    """All that is asked of the part."""
    links = training_links(tables)
    return [
        *user_retrievals(tables, embeddings, part, mask_history=masks, tuned=item_knn, learned=learned),
        *pair_retrievals(tables, embeddings, part, links=links, learned=learned),
        *feature_retrievals(tables, embeddings, links=links, learned=learned),
        *(cold_retrievals(tables, embeddings, links=links, mask_history=masks) if part == "test" else []),
    ]


def _downstream(
    tables: Tables, embeddings: Embeddings, tuned: dict[str, ItemKnnSettings], config: EvaluationConfig, seed: int
) -> list[Probe]:
    probed = [
        probe(tables, embeddings, name, tuned=tuned[tuned_key(USER_TASKS[0], name)], config=config, seed=seed)
        for name in tables.sequences
    ]
    return [of_sequence for of_sequence in probed if of_sequence is not None]


def _refuse_leaks(tables: Tables) -> None:
    leaks = find_leaks(tables)
    if leaks:
        listed = "\n  ".join(leaks)
        raise OmnisageError(
            f"nothing was evaluated, because training data hold what is to be predicted:\n  {listed}\n"
            "delete the tables artifact and run `omnisage tables` again; if that does not help, report it as a bug"
        )


def _refuse_other_entities(tables: Tables, embeddings: Embeddings, types: list[str], *, command: str) -> None:
    for entity_type in types:
        num_entities = tables.num_entities.get(entity_type, 0)
        vectors = embeddings.entities.get(entity_type)
        num_vectors = 0 if vectors is None else len(vectors)
        if num_vectors != num_entities:
            raise OmnisageError(
                f"embeddings hold {num_vectors} vectors for the {num_entities} entities of type "
                f"'{entity_type}'; run `omnisage {command}` again"
            )
