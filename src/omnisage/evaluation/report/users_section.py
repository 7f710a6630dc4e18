"""What some test users had, what the model recommends them, and what they did next."""

import numpy as np

from omnisage.baselines.lists import Ids
from omnisage.evaluation.report.html import Section, escape, grid, paragraph
from omnisage.evaluation.report.run_results import RunResults
from omnisage.evaluation.user_queries import UserQueries, user_queries
from omnisage.index.artifact import NO_ENTITY
from omnisage.names import Names
from omnisage.randomness import generator

_NUM_USERS = 9
_NUM_SHOWN = 8


def users_section(results: RunResults, names: Names) -> Section:
    """Cards of test users, drawn at random and not by how well they turned out."""
    body = paragraph(
        "Test users drawn at random, each at one of their queries: the last things known of them, the first "
        f"{_NUM_SHOWN} recommendations (without what they had), and what came in the window after. "
        '<span class="hit">Marked</span> recommendations did come; marked arrivals were recommended.'
    )
    num_before = len(body)
    for name in results.embeddings.users:
        sequence = results.tables.sequences[name]
        queries = user_queries(results.tables, name, "test")
        rows = _drawn_rows(queries, results.seed, name)
        if len(rows):
            histories = [queries.histories[row] for row in rows]
            vectors = np.ascontiguousarray(results.embeddings.queries(name, "test")[rows])
            _, found = results.index.search(sequence.entity, vectors, _NUM_SHOWN, exclude=histories)
            cards = [
                _card(names, sequence.entity, queries, row, recommended=found[position])
                for position, row in enumerate(rows)
            ]
            body += f"<h3>{escape(name)}</h3>" + grid(cards)
    if len(body) == num_before:
        body = paragraph("There are no users to show: no embeddings of users, or no queries of theirs.")
    return Section("users", "Users", body)


def _drawn_rows(queries: UserQueries, seed: int, sequence: str) -> list[int]:
    """One query each of some users, users and queries at random."""
    order = generator(seed, "shown users", sequence).permutation(len(queries.users))
    _, first = np.unique(queries.users[order], return_index=True)
    return [int(row) for row in order[np.sort(first)][:_NUM_USERS]]


def _card(names: Names, entity_type: str, queries: UserQueries, row: int, *, recommended: Ids) -> str:
    history = queries.histories[row].tolist()
    came = list(dict.fromkeys([*queries.following[row].tolist(), *queries.future[row].tolist()]))
    shown = [entity for entity in recommended.tolist() if entity != NO_ENTITY]
    cut = f", the first {_NUM_SHOWN} of {len(came)}" if len(came) > _NUM_SHOWN else ""
    return (
        f'<div class="card"><h4>{len(history):,} things known</h4><dl>'
        f"<dt>the last of them</dt><dd>{_listed(names, entity_type, history[-_NUM_SHOWN:], marked=[])}</dd>"
        f"<dt>recommended</dt><dd>{_listed(names, entity_type, shown, marked=came)}</dd>"
        f"<dt>what came{cut}</dt>"
        f"<dd>{_listed(names, entity_type, came[:_NUM_SHOWN], marked=shown)}</dd></dl></div>"
    )


def _listed(names: Names, entity_type: str, entities: list[int], *, marked: list[int]) -> str:
    items = ""
    for entity, name in zip(entities, names.of_all(entity_type, entities), strict=True):
        text = f'<span class="hit">{escape(name)}</span>' if entity in marked else escape(name)
        items += f"<li>{text}</li>"
    return f"<ol>{items}</ol>"
