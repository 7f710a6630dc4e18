"""`omnisage explain`: what an embedding attends to, and why two entities are near, as tables in the terminal."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnisage.catalog import Catalog, open_catalog
from omnisage.errors import OmnisageError
from omnisage.explain import Evidence, Explanation, Step, open_explainer

_NUM_SHOWN = 20  # neighbors of an entity
_NUM_PATHS = 10
_LOG_COLUMNS = 200  # in a pipe, where rich assumes 80


def print_explanation(workspace: Path, entity: tuple[str, str], to: tuple[str, str] | None) -> None:
    """Print what an entity's embedding attends to; with `to`, what it has in common with another entity.

    Args:
        workspace: where the artifacts are.
        entity: type and id.
        to: of the other one.

    Raises:
        OmnisageError: no such entity, or a stage has not run.
    """
    explainer = open_explainer(workspace)
    catalog = open_catalog(explainer.tables, explainer.graph)
    first = entity[0], _dense(catalog, *entity)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _LOG_COLUMNS
    if to is None:
        _print_weights(console, catalog, explainer.explain(*first))
        return
    second = to[0], _dense(catalog, *to)
    _print_evidence(console, catalog, (first, second), explainer.compare(first, second))


def _dense(catalog: Catalog, entity_type: str, external: str) -> int:
    try:
        return catalog.entity(entity_type, external)
    except KeyError:
        raise OmnisageError(f"'{entity_type}' has no id '{external}'; give an id as it stands in its table") from None


def _print_weights(console: Console, catalog: Catalog, explained: Explanation) -> None:
    console.print(
        f"{escape(catalog.name(explained.type, explained.entity))}: {explained.self_weight:.1%} of its attention, the "
        f"mean of {explained.num_heads} heads, is on its own, the rest on {len(explained.neighbors)} neighbors"
    )
    table = _table("what", "weight", "importance", "linked by", right=(1, 2))
    for own in explained.own:
        table.add_row(f"own {escape(own.feature)}", f"{own.weight:.2%}", "", "")
    for near in explained.neighbors[:_NUM_SHOWN]:
        linked = ", ".join(near.relations) or "a walk over " + ", ".join(near.walk)
        name = f"{near.type} {escape(catalog.name(near.type, near.entity))}"
        table.add_row(name, f"{near.weight:.2%}", f"{near.importance:.2g}", escape(linked))
    console.print(table)
    if len(explained.neighbors) > _NUM_SHOWN:
        console.print(f"and {len(explained.neighbors) - _NUM_SHOWN} neighbors with less weight")


def _print_evidence(
    console: Console, catalog: Catalog, pair: tuple[tuple[str, int], tuple[str, int]], found: Evidence
) -> None:
    names = [escape(catalog.name(*entity)) for entity in pair]
    console.print(f"{names[0]} and {names[1]}: score {found.score:.3f}")
    for feature in found.features:
        console.print(f"both have {escape(feature.column)}: {escape(str(feature.value))}")
    table = _table("neighbor of both", "weight in the first", "in the second", right=(1, 2))
    for near in found.neighbors[:_NUM_SHOWN]:
        name = f"{near.type} {escape(catalog.name(near.type, near.entity))}"
        table.add_row(name, f"{near.weight_a:.2%}", f"{near.weight_b:.2%}")
    console.print(table if found.neighbors else "no neighbor of both")
    for path in found.paths[:_NUM_PATHS]:
        console.print("path: " + "".join(_shown(catalog, step) for step in path))
    if not found.paths:
        console.print("no path of one or two edges")


def _shown(catalog: Catalog, step: Step) -> str:
    edge = f" -({', '.join(step.relations)})- " if step.relations else ""
    return escape(f"{edge}{catalog.name(step.type, step.entity)}")


def _table(*headers: str, right: tuple[int, ...]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for position, header in enumerate(headers):
        table.add_column(header, justify="right" if position in right else "left")
    return table
