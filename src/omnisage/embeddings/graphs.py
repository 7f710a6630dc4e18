"""The parts of a trained model as functions of plain tensors, which `torch.export` can trace.

Of each entity type: `neighbor` makes the token that stands for an entity where it is a neighbor, `embedder` makes an
embedding of an entity's features and its neighbors' tokens. Of each sequence: `user` makes users of events.

Shapes: B entities (or users), U entities that are neighbors, K neighbor slots, L events, n values of B lists together,
D width of tokens, E width of embeddings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnisage.batches.batch import Anchors, Bags, RawFeatures
from omnisage.batches.description import LOG_DEGREE, FeatureDescription, SequenceDescription, TypeDescription
from omnisage.batches.pauses import NUM_PAUSES
from omnisage.model.attention import Scored
from omnisage.model.embedder import EntityEmbedders
from omnisage.model.sequence import SequenceModel

_DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.bool: "bool"}


@dataclass(frozen=True)
class Input:
    """An input of a graph, and an example of it."""

    name: str
    axes: tuple[str | int, ...]  # a letter where any length will do
    example: Tensor
    meaning: str

    @property
    def dtype(self) -> str:
        """As NumPy names it."""
        return _DTYPES[self.example.dtype]


@dataclass(frozen=True)
class Graph:
    """A function of tensors, to be exported under a name."""

    name: str
    module: nn.Module
    inputs: list[Input]
    output: str
    axes: tuple[str | int, ...]  # of the output


class _Function(nn.Module):
    """Calls a function of named tensors with tensors in order; `owner` makes its weights part of the graph."""

    def __init__(self, owner: nn.Module, names: list[str], call: Callable[[dict[str, Tensor]], Tensor]):
        super().__init__()
        self.owner = owner
        self._names, self._call = names, call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._call(dict(zip(self._names, inputs, strict=True)))


def neighbor_graph(embedders: EntityEmbedders, entity_type: str, described: TypeDescription) -> Graph:
    """Features of U entities to tokens [U, D]."""
    inputs = _feature_inputs(described, "U")

    def call(given: dict[str, Tensor]) -> Tensor:
        return embedders.tokens(entity_type, _raw(described, given))

    module = _Function(embedders.feature_encoders[entity_type], [x.name for x in inputs], call)
    return Graph(f"{entity_type}.neighbor", module, inputs, "entity_tokens", ("U", embedders.dim))


def embedder_graph(embedders: EntityEmbedders, entity_type: str, described: TypeDescription, dim: int) -> Graph:
    """Features of B entities, and tokens of neighbors, to embeddings [B, E].

    Args:
        dim: E.
    """
    slots = described.num_slots
    inputs = _feature_inputs(described, "B")
    if slots:
        inputs += [
            Input("tokens", ("U", embedders.dim), torch.randn(5, embedders.dim), "tokens of all neighbors"),
            Input("neighbors", ("B", slots), torch.randint(5, (3, slots)), "their rows in `tokens`; 0 where empty"),
            Input(
                "log_weights",
                ("B", slots),
                torch.rand(3, slots),
                "log(1 + weight / eps) / log(1 + 1 / eps) of the neighborhoods' weights",
            ),
            Input("present", ("B", slots), torch.rand(3, slots) < 0.7, "false where the slot is empty"),
        ]

    def call(given: dict[str, Tensor]) -> Tensor:
        raw = _raw(described, given)
        num_rows = given[LOG_DEGREE].shape[0]  # `len` would fix it
        tokens = given["tokens"] if slots else torch.zeros(1, embedders.dim)
        empty = torch.zeros(num_rows, 0)
        weights = given["log_weights"] if slots else empty
        anchors = Anchors(
            rows_B=torch.arange(num_rows),
            neighbors_BK=given["neighbors"] if slots else empty.long(),
            log_weights_BK=weights,
            present_BK=given["present"] if slots else empty.bool(),
            weights_BK=weights,
            ids_B=torch.arange(num_rows),
        )
        return embedders.read(entity_type, raw, Scored(tokens, embedders.scores(entity_type, tokens)), anchors)

    owner = nn.ModuleList([embedders.feature_encoders[entity_type], embedders.entity_encoders[entity_type]])
    module = _Function(owner, [x.name for x in inputs], call)
    return Graph(f"{entity_type}.embedder", module, inputs, "entities", ("B", dim))


def user_graph(model: SequenceModel, name: str, described: SequenceDescription, max_length: int, dim: int) -> Graph:
    """Events to users [B, L + 1, E], entry i knowing the first i events.

    Args:
        max_length: the largest L.
        dim: E.
    """
    users, events = 3, min(4, max_length)
    shape = "B", "L"
    inputs = [
        Input(
            "events",
            (*shape, dim),
            nn.functional.normalize(torch.randn(users, events, dim), dim=-1),
            "embeddings of the events' entities, oldest first; anything after the last one",
        )
    ]
    if described.num_actions:
        inputs.append(_label("actions", described.num_actions, users, events))
    if described.num_surfaces:
        inputs.append(_label("surfaces", described.num_surfaces, users, events))
    if model.pauses is not None:
        meaning = (
            "0 for the first event; else 1 + the number of bits of the whole seconds since the one before, at most "
        )
        pauses = torch.randint(NUM_PAUSES, (users, events))
        inputs.append(Input("pauses", shape, pauses, f"{meaning}{NUM_PAUSES - 1}"))
    if model.times is not None:
        times = torch.randint(10**9, (users, events)).sort(dim=1).values
        inputs.append(Input("times", shape, times, "Unix seconds"))

    def call(given: dict[str, Tensor]) -> Tensor:
        events_BLE = given["events"]
        pauses_BL = given.get("pauses", events_BLE.new_zeros(events_BLE.shape[:2]).long())
        surfaces, times = given.get("surfaces"), given.get("times")
        return model(events_BLE, given.get("actions"), pauses_BL, surfaces_BL=surfaces, times_BL=times)

    module = _Function(model, [x.name for x in inputs], call)
    return Graph(f"{name}.user", module, inputs, "users", ("B", "L + 1", dim))


def _label(name: str, num_values: int, users: int, events: int) -> Input:
    return Input(name, ("B", "L"), torch.randint(num_values, (users, events)), f"indices into {name}.parquet of tables")


def _feature_inputs(described: TypeDescription, axis: str) -> list[Input]:
    num_rows = 3 if axis == "B" else 5
    inputs: list[Input] = []
    for name, feature in described.features.items():
        if feature.kind in ("text", "category"):
            inputs += _list_inputs(name, feature, num_rows, axis)
        else:
            inputs.append(
                Input(name, (axis, feature.size), torch.randn(num_rows, feature.size), _meaning(name, feature))
            )
    return inputs


def _list_inputs(name: str, feature: FeatureDescription, num_rows: int, axis: str) -> list[Input]:
    values = torch.randint(feature.size if feature.kind == "category" else 2**60, (2 * num_rows,))
    if feature.kind == "category":
        meaning = "indices into vocabulary.parquet, list after list"
    else:
        meaning = "64-bit hashes of n-grams as signed integers, text after text"
    ends = f"where each begins in `{name}.values`, and the end of the last"
    return [
        Input(f"{name}.values", (f"n of {name}",), values, meaning),
        Input(f"{name}.offsets", (f"{axis} + 1",), torch.arange(num_rows + 1) * 2, ends),
    ]


def _meaning(name: str, feature: FeatureDescription) -> str:
    if feature.size == 1:
        return "log(1 + number of edges in the graph)"
    what = "number, standardised" if feature.kind == "number" else "vector, as in tables"
    return f"{what}, then 1; zeros where {name} is missing"


def _raw(described: TypeDescription, given: dict[str, Tensor]) -> RawFeatures:
    return {
        name: Bags(given[f"{name}.values"], given[f"{name}.offsets"])
        if feature.kind in ("text", "category")
        else given[name]
        for name, feature in described.features.items()
    }
