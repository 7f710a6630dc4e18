"""The search behind all routes that find entities."""

import numpy as np
from numpy.typing import NDArray

from omnisage.errors import OmnisageError
from omnisage.index.filters import filterable, row_mask
from omnisage.schema import unknown_name
from omnisage.serve.context import Context
from omnisage.serve.errors import ApiError
from omnisage.serve.schemas import Hit, Range, Where

Ids = NDArray[np.uint32]
NO_IDS: Ids = np.empty(0, np.uint32)


def nearest(
    context: Context,
    entity_type: str,
    query_D: NDArray[np.float32],
    *,
    k: int,
    where: Where,
    exclude: Ids = NO_IDS,
) -> list[Hit]:
    """The entities of a type with the largest inner product with a vector, best first.

    Raises:
        ApiError: k beyond the limit, an unknown type or column, or a condition that does not fit its column.
    """
    context.check_limit("k", k, context.limits.k)
    context.check_type(entity_type)
    allow = _allowed(context, entity_type, where)
    scores, found = context.served.index.search(entity_type, query_D[None], k, exclude=[exclude], allow=allow)
    return context.hits(entity_type, scores[0], found[0])


def _allowed(context: Context, entity_type: str, where: Where) -> NDArray[np.bool_] | None:
    """Which entities meet the conditions; None: all."""
    if not where:
        return None
    tables = context.served.catalog.tables
    columns = filterable(tables, entity_type)
    for column in where:
        if column not in columns:
            text = unknown_name(f"column of '{entity_type}'", column, list(columns))
            raise ApiError(404, "unknown_column", text, "see /v1/info for what there is")
    conditions = {
        column: condition.model_dump(exclude_none=True) if isinstance(condition, Range) else condition
        for column, condition in where.items()
    }
    try:
        return row_mask(tables, entity_type, conditions)
    except OmnisageError as error:
        raise ApiError(422, "unusable_condition", str(error), "see the entity's columns for values") from None
