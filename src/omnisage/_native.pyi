"""The C++ core, bound in `native/bindings*.cc`; each kernel's contract and a worked example stand in its header.

Arrays must be C-contiguous and of exactly the dtype named here: nothing is converted or copied unseen. A wrong
dtype is a TypeError, a wrong shape or value a ValueError, an id out of range an IndexError. `num_threads` = 0 uses
every core; results do not depend on it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# indptr [rows+1] uint64, indices uint32, weights float32 where there are any
_Lists = tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.float32] | None]

def ngram_hashes(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], *, num_threads: int = 0
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash word uni- and bigrams and character trigrams of lower-cased UTF-8 texts (OmniSage §3.2).

    Args:
        data: [bytes] uint8, all texts one after the other.
        offsets: [N+1] int64, text i is `data[offsets[i]:offsets[i+1]]`.

    Returns:
        `indptr` [N+1] uint64 and `tokens` uint64, distinct within a text, in order of first appearance.
    """

def topk(
    scores: NDArray[np.float32], k: int, *, num_threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """The k largest entries of every row, largest first, ties by index.

    Args:
        scores: [B, N] float32; -inf excludes an entry, NaN is refused.
        k: may exceed N.

    Returns:
        `values` [B, k] float32 and `indices` [B, k] uint32; (-inf, 4294967295) in slots that stay empty.
    """

def dropout(
    values: NDArray[np.float32], bytes: NDArray[np.uint8], num_dropped: int, *, num_threads: int = 0
) -> NDArray[np.float32]:
    """The values [n] whose byte [n] is at least `num_dropped`, times 256 / (256 - num_dropped); 0 for the others.

    Returns:
        [1, n] float32.
    """

def gelu_dropout(
    values: NDArray[np.float32], bytes: NDArray[np.uint8], num_dropped: int, *, num_threads: int = 0
) -> NDArray[np.float32]:
    """`dropout` of GELU of the values."""

def gelu_dropout_backward(
    values: NDArray[np.float32],
    bytes: NDArray[np.uint8],
    num_dropped: int,
    upstream: NDArray[np.float32],
    *,
    num_threads: int = 0,
) -> NDArray[np.float32]:
    """The gradient [1, n] by the values of `gelu_dropout`, from that by its output [n]."""

def hash_buckets(
    values: NDArray[np.int64], multipliers: NDArray[np.int64], num_buckets: int, *, num_threads: int = 0
) -> NDArray[np.uint32]:
    """Multiply-shift hashing: bits 20 to 62 of value * multiplier, modulo `num_buckets`.

    Args:
        values: [n] int64.
        multipliers: [M] int64, odd, one per hash function.

    Returns:
        [n, M] uint32.
    """

def sum_bags(
    rows: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    table: NDArray[np.float32],
    importance: NDArray[np.float32] | None,
    *,
    num_threads: int = 0,
) -> NDArray[np.float32]:
    """The sums of table rows over the values of each bag and over hash functions (`native/bags.hpp`).

    Args:
        rows: [n, H+1] uint32, a value's rows of the table, then its row of `importance`; [n, H] without that.
        offsets: [U+1] int64, bag u has the values `offsets[u]:offsets[u+1]`.
        table: [R, V] float32.
        importance: [R, H] float32, what a row of the table is multiplied with.

    Returns:
        [U, V] float32.
    """

def sum_bags_backward(
    rows: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    table: NDArray[np.float32],
    importance: NDArray[np.float32] | None,
    by_sums: NDArray[np.float32],
    *,
    num_threads: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The gradients by `table` [R, V] and `importance` [R, H] (or [0, H]), from that by `sum_bags`'s sums [U, V]."""

# tokens [U, D], scores [U, 2H], neighbors [B, K] int64, log_weights [B, K], present [B, K] uint8, own [B, J, D],
# own_scores [B, J, H], positions [K, D], position_scores [K, H], gates [2, D], factors [B, J+K, H] or None; float32,
# tokens for `attend` also bfloat16, whose bits they then are
_Attention = tuple[
    NDArray[np.float32] | NDArray[np.uint16],
    NDArray[np.float32],
    NDArray[np.int64],
    NDArray[np.float32],
    NDArray[np.uint8],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float32] | None,
]

def attend(
    arrays: _Attention, *, num_threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Attention of one query over each anchor's own tokens and its neighbors' gated tokens (`native/attention.hpp`).

    Args:
        arrays: see `_Attention`; D is a multiple of 16, neighbors are below U where present.

    Returns:
        What each head reads [H * B, D], the sums of the weights [H, B], and the weights, for `attend_backward`.
    """

def attend_backward(
    arrays: _Attention,
    weights: NDArray[np.float32],
    reads: NDArray[np.float32],
    totals: NDArray[np.float32],
    *,
    num_threads: int = 0,
) -> list[NDArray[np.float32]]:
    """The gradients by `attend`'s float arrays, from those by what each head reads [H, B, D] and by the sums [H, B].

    Returns:
        Of tokens, scores, own, own_scores, positions, position_scores and gates, each as a matrix of its rows.
    """

def sum_weighted(
    parts: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    present: NDArray[np.uint8],
    weights: NDArray[np.float32],
    *,
    num_threads: int = 0,
) -> NDArray[np.float32]:
    """For each anchor, sums of the rows in its slots, one per weight of a slot (`native/weighted_sums.hpp`).

    Args:
        parts: [U, width] float32 each, a multiple of 16 wide; side by side they are the rows, Z wide.
        rows: [B, K] int64, below U where present.
        present: [B, K] uint8, 0 where a slot is empty.
        weights: [B, K, G] float32.

    Returns:
        [G * B, Z] float32.
    """

def sum_weighted_backward(
    parts: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    present: NDArray[np.uint8],
    weights: NDArray[np.float32],
    by_sums: NDArray[np.float32],
    asked: Sequence[bool],
    *,
    num_threads: int = 0,
) -> list[NDArray[np.float32]]:
    """The gradients from that by `sum_weighted`'s sums [G * B, Z]: by weights [B * K, G], and by each part.

    Args:
        asked: for each part, whether its gradient is wanted; [0, width] otherwise.
    """

def softmax_loss(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    log_q: NDArray[np.float32],
    columns: NDArray[np.int64],
    seen: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    others: NDArray[np.float32] | None = None,
    *,
    num_threads: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The softmax loss of each query over the candidates, and the gradients of their sum, in bounded scratch memory.

    Args:
        queries: [P, E] float32.
        candidates: [C, E] float32.
        log_q: [C] float32, subtracted from every query's product with the candidate.
        columns: [P] int64, each query's positive among the candidates.
        seen: rows [M] (not falling) and columns [M] int64: candidates left out of a query's softmax.
        others: [P] float32, log of the sum of the exponentials of logits that a query has beside the candidates.

    Returns:
        losses [1, P], gradient of the queries [P, E] and of the candidates [C, E], float32.
    """

def gather(
    rows: NDArray[np.float32] | NDArray[np.float16], ids: NDArray[np.uint32], *, num_threads: int = 0
) -> NDArray[np.float32]:
    """Rows of a matrix (memory-mapped or not) by id.

    Args:
        rows: [N, d] float32 or float16.
        ids: [n] uint32, below N.

    Returns:
        [n, d] float32.
    """

# rows [E] uint32, columns [E] uint32, weights [E] float32 where there are any
_Chunk = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]

def build_csr(
    chunks: Sequence[_Chunk],
    *,
    num_rows: int,
    num_columns: int,
    row_range: tuple[int, int] | None = None,
    is_symmetric: bool = False,
    num_threads: int = 0,
) -> _Lists:
    """Adjacency lists of rows: distinct, rising, weights of repeated edges summed.

    Args:
        chunks: edges in any order; weights finite and above 0, in all chunks or in none.
        row_range: first and last + 1 of the rows whose lists are built; entries of others are left out.
        is_symmetric: rows and columns are of one type, so every edge also enters its column's list.
    """

def partition(
    chunk: _Chunk,
    *,
    bounds: NDArray[np.uint64],
    num_columns: int,
    is_symmetric: bool = False,
    num_threads: int = 0,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]:
    """List entries grouped by range of rows: range r has the rows `bounds[r]` .. `bounds[r + 1] - 1`.

    Rows below `bounds[0]` are left out; those from `bounds[-1]` on are refused.

    Returns:
        `starts` [ranges + 1], and `rows`, `columns`, `weights` in which range r stands at `starts[r]:starts[r + 1]`.
    """

def prune(
    indptr: NDArray[np.uint64],
    indices: NDArray[np.uint32],
    weights: NDArray[np.float32] | None,
    *,
    degrees: tuple[float, int, int],
    seed: int,
    order: Literal["row_first", "row_last", "smaller_first"],
    first_row: int = 0,
    num_threads: int = 0,
) -> _Lists:
    """Keep max(min(degree^alpha, max_degree), min_degree) edges per list (OmniSage, Algorithm 2).

    Args:
        degrees: alpha, min_degree, max_degree.
        order: which end the hash of a pair takes first; both directions of a relation must agree on a pair.
        first_row: the id of the first list.
    """

class IntegerIds:
    """Numbers distinct 64-bit integers 0, 1, 2, ... in the order in which they are first added."""

    def __init__(self) -> None: ...
    def add(
        self, keys: NDArray[np.uint64], *, max_bytes: int | None = None, num_threads: int = 0
    ) -> NDArray[np.uint32]:
        """The number of each key, [n]; new keys get the next ones, in order.

        Args:
            max_bytes: of the table. The first new key that would need more, and all new ones after it, now and later,
                are not added: 4294967295.
        """

    def find(self, keys: NDArray[np.uint64], *, num_threads: int = 0) -> NDArray[np.uint32]:
        """The number of each key, [n]; 4294967295 where there is none."""

    def num_bytes(self) -> int:
        """What the table takes."""

    def release(self) -> NDArray[np.uint64]:
        """The keys by number; nothing is left here."""

class StringIds:
    """The same for strings of bytes: string i of a batch is `data[offsets[i]:offsets[i + 1]]`."""

    def __init__(self) -> None: ...
    def add(
        self,
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        *,
        max_bytes: int | None = None,
        num_threads: int = 0,
    ) -> NDArray[np.uint32]: ...
    def find(
        self, data: NDArray[np.uint8], offsets: NDArray[np.int64], *, num_threads: int = 0
    ) -> NDArray[np.uint32]: ...
    def num_bytes(self) -> int: ...
    def release(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]: ...

def deal_integers(keys: NDArray[np.uint64], *, num_threads: int = 0) -> NDArray[np.uint8]:
    """[n] which of 256 buckets each key goes to: about equally many distinct ones to each, a key always to the same."""

def deal_strings(data: NDArray[np.uint8], offsets: NDArray[np.int64], *, num_threads: int = 0) -> NDArray[np.uint8]:
    """The same for strings."""

def sort_strings(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    """[n] the numbers of strings in the order of their bytes, equal ones by number."""

def place_strings(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    bounds: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    num_threads: int = 0,
) -> NDArray[np.uint8]:
    """[n] for each string how many of at most 255 bounds, strings that rise, are not above it."""

def sketch_update(table: NDArray[np.uint64], ids: NDArray[np.uint64], counts: NDArray[np.uint64], *, seed: int) -> None:
    """Count ids in a count-min sketch, in place; sketches of one shape and seed are merged by adding their tables.

    Args:
        table: [depth, width] uint64, zeros at first.
        ids, counts: [n] uint64.
    """

def sketch_estimate(table: NDArray[np.uint64], ids: NDArray[np.uint64], *, seed: int) -> NDArray[np.uint64]:
    """How often each id was counted, [n] uint64: never below the truth, seldom far above it."""

_Pushed = tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32]]

class TypedGraph:
    """The adjacencies one walk may use, checked and merged into one list per entity.

    Entities of all types have internal numbers there: by falling degree (length of the merged list), equal ones by
    type and then by id.
    """

    def __init__(
        self,
        num_entities: Sequence[int],
        adjacencies: Sequence[tuple[str, int, int, NDArray[np.uint64], NDArray[np.uint32], NDArray[np.float32] | None]],
        *,
        num_threads: int = 0,
    ) -> None:
        """Check and copy these arrays, which may be memory-mapped.

        Args:
            adjacencies: name for messages, type the lists belong to, type they point to, indptr, indices, weights;
                entities without a row in indptr have no neighbors.
        """

    def lists(
        self,
    ) -> tuple[
        NDArray[np.uint64], NDArray[np.uint32], NDArray[np.float32] | None, NDArray[np.uint32], NDArray[np.uint8]
    ]:
        """The merged lists, without a copy: `indptr` [N+1], `indices` in internal numbers, `weights` (None where no
        adjacency has any, 1 for those without), and `ids` [N] and `types` [N], what every internal number stands for.
        """

    def forward_push(
        self,
        source_type: int,
        sources: NDArray[np.uint32],
        take: Sequence[int],
        *,
        restart: float,
        eps: float,
        complete: bool = False,
        exact_degree: int = 0,
        num_threads: int = 0,
    ) -> _Pushed:
        """The nearest entities of each source by random walk with restart (OmniSage §3.1.1).

        Args:
            sources: [S] uint32 ids of source_type.
            take: how many entities of each type to keep; K is their sum.
            complete: count the residual that is left, as spread over the component like walks that go on for long.
            exact_degree: with `complete`, candidates in at most so many lists get the first step of it exactly.

        Returns:
            `ids` [S, K] uint32 (4294967295 in an empty slot), types in order, falling proximity within a type;
            `weights` [S, K] float32; `counts` [S, types] uint32, how many slots of each type are filled; `mass` [S]
            float32, the share of probability that the slots hold; `pushes` [S] uint32, how many it took.
        """

    def push_newcomer(
        self,
        edges: Sequence[tuple[int, NDArray[np.uint32], NDArray[np.float32] | None]],
        take: Sequence[int],
        *,
        restart: float,
        eps: float,
        complete: bool = False,
        exact_degree: int = 0,
    ) -> _Pushed:
        """The same of one entity that the graph does not have, S = 1, as if it had it and its edges.

        Args:
            edges: type of the neighbors, their ids, weights; one or several of each type.
        """

    def random_walks(
        self,
        source_type: int,
        sources: NDArray[np.uint32],
        *,
        shape: tuple[int, int],
        restart: float,
        seed: int,
        num_threads: int = 0,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Walks that go back to their source with probability `restart`, else along a random edge.

        Args:
            sources: [S] uint32 ids of source_type.
            shape: number of walks W per source, and their length L in steps; W * L is at most 2^24.
            restart: in [0, 1].
            seed: the walks are a function of it and of (source, number of the walk, step).

        Returns:
            `ids` [S * W, L + 1] uint32 and `types` [S * W, L + 1] uint8, the source first; 4294967295 and 255 after
            the end of a walk, which is where there is no edge.
        """

    def most_visited(
        self,
        source_type: int,
        sources: NDArray[np.uint32],
        take: Sequence[int],
        *,
        shape: tuple[int, int],
        restart: float,
        seed: int,
        num_threads: int = 0,
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32]]:
        """The entities that the same walks visit most often, as `forward_push` returns its nearest.

        Returns:
            `ids`, `weights`, `counts` and `mass`. Weights are shares of all W * L steps; `mass` is the share of visits
            outside the source in the slots.
        """

    def push_state(
        self, source_type: int, source: int, *, restart: float, eps: float
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """What a push leaves, to inspect or check it.

        Returns:
            `entities` uint32, rising, numbered through all types by id; their `estimates` p, `residuals` r and
            `scores`, p + restart * r as the ranking has it.
        """
