"""SASRec with the full softmax: a causal transformer over the items of a sequence (Kang and McAuley, ICDM 2018).

With the loss that later work found to matter most (Klenitskiy and Vasilev, RecSys 2023): cross-entropy over all items
at every position, instead of one sampled negative. An item is its learned vector, with `uses_content` plus the sum of
those of its categories (S3-Rec's attributes). The published model otherwise: items and scores share one table, learned
positions, dropout. It stops early on recall@10 of the validation queries.

Shapes: N items, B users, L events, P positions that look for a next item, D width.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from omnisage.baselines.config import SasrecConfig, SasrecRun
from omnisage.baselines.fit import prepare_torch
from omnisage.baselines.sasrec_batches import Rows, epoch_of_rows, known_rows, training_rows
from omnisage.baselines.vectors import BaselineVectors, UserVectors, embed_all_users
from omnisage.errors import OmnisageError
from omnisage.progress import track
from omnisage.randomness import derive_seed
from omnisage.tables.artifact import CategoryArrays, SequencePart, Tables
from omnisage.tasks.recalls import next_recall

Vectors = NDArray[np.float32]
Queries = NDArray[np.uint32]
_QUERIES_PER_BLOCK = 512


class Sasrec(nn.Module):
    """Items to the states of users after each of their events."""

    def __init__(self, num_items: int, categories: list[CategoryArrays], settings: SasrecConfig):
        super().__init__()
        dim = settings.dim
        self.items = nn.Embedding(num_items, dim)
        self.positions = nn.Parameter(torch.randn(settings.max_length, dim) * 0.02)
        nn.init.normal_(self.items.weight, std=0.02)
        tables = [nn.EmbeddingBag(max(of.num_values, 1), dim, mode="sum") for of in categories]
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)
        self.content = nn.ModuleList(tables)
        for number, of in enumerate(categories):
            self.register_buffer(f"values_{number}", torch.from_numpy(of.indices.astype(np.int64)))
            self.register_buffer(f"offsets_{number}", torch.from_numpy(of.indptr[:-1].astype(np.int64)))
        self.dropout = nn.Dropout(settings.dropout)
        layer = nn.TransformerEncoderLayer(
            dim, settings.num_heads, 4 * dim, settings.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, settings.num_layers, nn.LayerNorm(dim), enable_nested_tensor=False)

    def item_vectors(self) -> Tensor:
        """[N, D]."""
        vectors_ND = self.items.weight
        for number, table in enumerate(self.content):
            vectors_ND = vectors_ND + table(getattr(self, f"values_{number}"), getattr(self, f"offsets_{number}"))
        return vectors_ND

    def forward(self, items_ND: Tensor, events_BL: Tensor) -> Tensor:
        """States [B, L, D], of which the i-th knows the first i + 1 events; what comes later never changes it."""
        length = events_BL.shape[1]
        tokens_BLD = functional.embedding(events_BL, items_ND) * items_ND.shape[1] ** 0.5 + self.positions[:length]
        mask_LL = nn.Transformer.generate_square_subsequent_mask(length, device=events_BL.device)
        return self.layers(self.dropout(tokens_BLD), mask=mask_LL, is_causal=True)


@dataclass(frozen=True)
class FittedSasrec:
    """Scores are inner products of vectors of entities and of users."""

    entities: Vectors  # [N, D]
    model: Sasrec
    max_length: int
    num_epochs: int  # after which it was best
    validation_recall: float

    def users(self, part: SequencePart, queries: Queries) -> Vectors:
        """Users of a part as they were after some of their events.

        Args:
            part: the events.
            queries: [Q, 2] (row of the part, number of its first events known); 0 events give a vector of zeros.

        Returns:
            [Q, D] float32.
        """
        return _states(self.model, part, queries, self.max_length)


def embed_sasrec(config: SasrecRun, tables: Tables, *, seed: int) -> BaselineVectors:
    """Train on every sequence, and give the vectors of its entities and users.

    Of two sequences about one entity type the first has its entities' vectors, and is the only one of the two that is
    a method of their tasks.

    Raises:
        OmnisageError: no sequence to learn from.
    """
    device = prepare_torch(config.training, seed)
    entities: dict[str, Vectors] = {}
    users: dict[str, UserVectors] = {}
    for name, sequence in tables.sequences.items():
        if len(sequence.part("train").entities) == 0 or sequence.entity in entities:
            continue
        fitted = fit_sasrec(tables, name, config.sasrec, seed=seed, device=device.type)
        entities[sequence.entity] = fitted.entities
        users[name] = embed_all_users(sequence, fitted.users)
    if not users:
        raise OmnisageError("SASRec learns from sequences, and there is no training sequence; leave it out")
    return BaselineVectors(entities, users)


def fit_sasrec(
    tables: Tables, sequence: str, settings: SasrecConfig | None = None, *, seed: int = 0, device: str = "cpu"
) -> FittedSasrec:
    """Train on the sequence's training part, and keep the weights that are best on its validation queries.

    Args:
        tables: the `tables` artifact.
        sequence: the sequence's name.
        settings: by default the defaults.
        seed: of weights, batches and dropout.
        device: `cpu` or `cuda`.
    """
    settings = settings or SasrecConfig()
    of_sequence = tables.sequences[sequence]
    torch.manual_seed(derive_seed(seed, "sasrec weights"))
    model = Sasrec(tables.num_entities[of_sequence.entity], _categories(tables, of_sequence.entity, settings), settings)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    train, validation = of_sequence.part("train"), of_sequence.part("validation")
    rows = training_rows(train, settings.max_length)
    best, best_recall, best_epoch = copy.deepcopy(model.state_dict()), -1.0, 0
    with track(f"sasrec of {sequence}", settings.num_epochs, "epochs") as advance:
        for epoch in range(1, settings.num_epochs + 1):
            torch.manual_seed(derive_seed(seed, "sasrec dropout", epoch))
            model.train()
            for users in epoch_of_rows(rows, settings.users_per_batch, seed, epoch):
                _step(model, optimizer, train, rows.take(users))
            if epoch % settings.validate_every == 0 or epoch == settings.num_epochs:
                recall = _recall(model, validation, settings.max_length)
                if recall > best_recall:
                    best, best_recall, best_epoch = copy.deepcopy(model.state_dict()), recall, epoch
                elif epoch - best_epoch >= settings.patience * settings.validate_every:
                    break
            advance(1, f"best recall@10 {best_recall:.3f}")
    model.load_state_dict(best)
    return FittedSasrec(_vectors(model), model, settings.max_length, best_epoch, best_recall)


def _categories(tables: Tables, entity_type: str, settings: SasrecConfig) -> list[CategoryArrays]:
    """The category features of the items that are no ids of theirs: those are what SASRec learns anyway."""
    if not settings.uses_content:
        return []
    features = tables.features.get(entity_type, {}).values()
    num_items = tables.num_entities[entity_type]
    return [of for of in features if isinstance(of, CategoryArrays) and of.num_values < num_items]


def _step(model: Sasrec, optimizer: torch.optim.Optimizer, part: SequencePart, rows: Rows) -> None:
    device = model.positions.device
    events_BL, present_BL = (torch.from_numpy(array).to(device) for array in rows.events(part))
    items_ND = model.item_vectors()
    states_BLD = model(items_ND, events_BL[:, :-1])
    asks_BL = present_BL[:, 1:]
    loss = functional.cross_entropy(states_BLD[asks_BL] @ items_ND.T, events_BL[:, 1:][asks_BL])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _states(model: Sasrec, part: SequencePart, queries: Queries, max_length: int) -> Vectors:
    model.eval()
    device, items_ND = model.positions.device, model.item_vectors()
    states_QD = np.zeros((len(queries), items_ND.shape[1]), np.float32)
    asked = np.flatnonzero(queries[:, 1])
    rows = known_rows(part, queries[asked], max_length)
    for begin in range(0, len(rows), _QUERIES_PER_BLOCK):
        block = rows.take(np.arange(begin, min(begin + _QUERIES_PER_BLOCK, len(rows))))
        states_BLD = model(items_ND, torch.from_numpy(block.events(part)[0]).to(device))
        last_B = torch.from_numpy(block.lengths() - 1).to(device)
        last_BD = states_BLD[torch.arange(len(block), device=device), last_B]
        states_QD[asked[begin : begin + len(block)]] = last_BD.cpu().numpy()
    return states_QD


def _recall(model: Sasrec, part: SequencePart, max_length: int) -> float:
    """Recall@10 of the next event of a part's queries."""
    if part.queries is None or len(part.queries) == 0:
        return 0.0
    return next_recall(_states(model, part, part.queries, max_length), _vectors(model), part, part.queries)


@torch.no_grad()
def _vectors(model: Sasrec) -> Vectors:
    return model.item_vectors().cpu().numpy()
