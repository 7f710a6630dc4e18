"""Routes for the page's whole view: the map, and the health report."""

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query, Response

from omnisage.artifact import read_manifest
from omnisage.columns import Column, NumberColumn
from omnisage.errors import OmnisageError
from omnisage.evaluation.artifact import open_evaluation, summary_rows
from omnisage.explorer.artifact import Explorer
from omnisage.schema import unknown_name
from omnisage.serve.arrow import ARROW, arrow_response
from omnisage.serve.context import Context, Given
from omnisage.serve.errors import ApiError, ErrorBody
from omnisage.serve.schemas import DegreeRow, Evaluated, HealthReport, TypeName

router = APIRouter(prefix="/v1", tags=["explorer"])

_LATER: dict[int | str, dict[str, Any]] = {
    503: {"model": ErrorBody, "description": "it is being made; Retry-After says when to ask again"}
}
_MAP: dict[int | str, dict[str, Any]] = {
    200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}, "description": "points"}
}


@router.get("/map", response_class=Response, responses=_MAP | _LATER)
def points(
    context: Given,
    type: Annotated[TypeName | None, Query(description="only this type; none: all")] = None,
    column: Annotated[str | None, Query(max_length=200, description="a column of the type, to color by")] = None,
) -> Response:
    """Every entity as a point, as an Arrow stream: `x`, `y`, `row`; of all types also `type`, of one also `column`."""
    explorer = _explorer(context)
    if type is None:
        if column is not None:
            raise ApiError(404, "unknown_column", "columns belong to a type, and none is given", "give type, too")
        return arrow_response(_all_points(explorer))
    context.check_type(type)
    if type not in explorer.points:
        text = f"'{type}' is not on the map: there are too few entities"
        raise ApiError(404, "no_map", text, "see /v1/info for what there is")
    table = _points(explorer, type)
    if column is not None:
        columns = context.served.catalog.columns[type]
        if column not in columns:
            text = unknown_name(f"column of '{type}'", column, list(columns))
            raise ApiError(404, "unknown_column", text, "see /v1/info for what there is")
        name = f"{column}_" if column in table.column_names else column
        table = table.append_column(name, _colors(columns[column]))
    return arrow_response(table)


@router.get("/health-report", responses=_LATER)
def health_report(context: Given) -> HealthReport:
    """How healthy the embeddings are, how good, and how far they moved since the version before."""
    health = _explorer(context).health
    drift = health["drift"] or {}
    evaluation, by_degree = _evaluated(context)
    return HealthReport(
        types=health["types"],
        recall_by_degree=by_degree,
        evaluation=evaluation,
        drift=drift.get("types"),
        previous=drift.get("previous"),
    )


def _explorer(context: Context) -> Explorer:
    found = context.served.explorer.get()
    if found is None:
        text = "the map and the health report are being made"
        remedy = "ask again later, or run `omnisage explorer` with the same config"
        raise ApiError(503, "in_preparation", text, remedy, headers={"Retry-After": "5"})
    return found


def _points(explorer: Explorer, entity_type: str) -> pa.Table:
    places = explorer.points[entity_type]
    return pa.table(
        {
            "x": pa.array(np.ascontiguousarray(places[:, 0])),
            "y": pa.array(np.ascontiguousarray(places[:, 1])),
            "row": pa.array(np.arange(len(places), dtype=np.uint32)),
        }
    )


def _all_points(explorer: Explorer) -> pa.Table:
    types = list(explorer.points)
    tables = [_points(explorer, entity_type) for entity_type in types]
    lengths = [len(table) for table in tables]
    numbers = np.repeat(np.arange(len(types), dtype=np.int32), lengths)
    table = pa.concat_tables(tables) if tables else _no_points()
    return table.append_column("type", pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(types, pa.string())))


def _no_points() -> pa.Table:
    return pa.schema([("x", pa.float32()), ("y", pa.float32()), ("row", pa.uint32())]).empty_table()


def _colors(column: Column) -> pa.Array:
    """A number as it is; of several categories the first, which is the first by the alphabet."""
    if isinstance(column, NumberColumn):
        values = np.asarray(column.arrays.values, np.float64) * column.std + column.mean
        return pa.array(values.astype(np.float32), mask=~np.asarray(column.arrays.present))
    begins, ends = (np.asarray(side, np.int64) for side in (column.arrays.indptr[:-1], column.arrays.indptr[1:]))
    is_missing = begins == ends
    indices = np.zeros(len(begins), np.int32)
    indices[~is_missing] = column.arrays.indices[begins[~is_missing]]
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=is_missing), pa.array(column.vocabulary, pa.string()))


def _evaluated(context: Context) -> tuple[Evaluated | None, list[DegreeRow]]:
    """The evaluation of these embeddings, if it has run: its short table, and recall by popularity."""
    folder = context.served.workspace / "evaluation"
    try:
        evaluation = open_evaluation(folder)
        if read_manifest(folder, "evaluation").plan.inputs.get("embeddings") != context.served.sha256:
            return None, []
        headers, rows = summary_rows(folder)
    except OmnisageError:
        return None, []
    meanings = {(s.task, s.name, s.slice): s for s in evaluation.slices}
    by_degree = [
        DegreeRow(
            task=record.task,
            name=record.name,
            metric=record.metric,
            label=record.slice.removeprefix("popularity: "),
            meaning=meanings[record.task, record.name, record.slice].meaning,
            entities=meanings[record.task, record.name, record.slice].num_entities,
            queries=record.num_queries,
            value=record.value,
            lower=record.low,
            upper=record.high,
        )
        for record in evaluation.records
        if record.slice.startswith("popularity: ") and record.method == "model" and record.metric.startswith("recall")
    ]
    return Evaluated(headers=headers, rows=rows), by_degree
