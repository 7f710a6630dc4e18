"""What the commands print: tables of stages and of results, and errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnisage.runner import Outcome, State

if TYPE_CHECKING:  # help need not wait for what studies and searches import
    from omnisage.search import Found
    from omnisage.study.compare import Line

_LOG_COLUMNS = 240  # rows of results with every baseline stay whole


def print_error(message: str) -> None:
    """One red message on the error stream."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {escape(message)}")


def print_outcomes(outcomes: list[Outcome]) -> None:
    """What a run did to every stage, how long it took, and what came out."""
    table = Table("stage", "state", "seconds", "result", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for outcome in outcomes:
        ran = outcome.seconds is not None
        state = "[green]done[/]" if ran else "up to date"
        table.add_row(
            outcome.stage,
            state,
            f"{outcome.seconds:,.1f}" if ran else "",
            headline(outcome.stage, outcome.counts),
        )
    _console().print(table)


def print_states(states: list[State]) -> None:
    """Which stages must run, and why."""
    table = Table("stage", "state", "why", "result", box=None, header_style="bold", pad_edge=False)
    for state in states:
        word = "[green]up to date[/]" if state.reason is None else "[yellow]stale[/]"
        if state.counts is None:
            word = "[dim]missing[/]"
        counts = headline(state.stage, state.counts or {})
        table.add_row(state.stage, word, escape(state.reason or ""), counts)
    _console().print(table)


def print_results(headers: list[str], rows: list[list[str]], report: Path, serve: str) -> None:
    """The result table of the evaluation, where its report is, and the command that serves the embeddings."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console = _console()
    console.print()
    console.print(table)
    console.print(f"\nreport: {escape(str(report))}", soft_wrap=True)
    console.print(f"to look at the embeddings: {escape(serve)}", soft_wrap=True)


def print_found(found: list[Found], *, as_json: bool) -> None:
    """The nearest entities, best first, as a table or for programs."""
    if as_json:
        print(json.dumps([dataclasses.asdict(entity) for entity in found], indent=1))
        return
    table = Table("", "id", "name", "score", box=None, header_style="bold", pad_edge=False)
    table.columns[0].justify = table.columns[3].justify = "right"
    for place, entity in enumerate(found, start=1):
        table.add_row(str(place), escape(str(entity.id)), escape(entity.name), f"{entity.score:.4f}")
    _console().print(table)


def print_study(titles: dict[str, str], lines: dict[str, list[Line]], out: Path) -> None:
    """Each row of a study with its difference from the reference, a column per measure, and where the pages are."""
    table = Table("row", *map(escape, titles.values()), box=None, header_style="bold", pad_edge=False)
    cells: dict[str, dict[str, str]] = {}
    every = [(measure, line) for measure, of_measure in lines.items() for line in of_measure]
    for measure, line in sorted(every, key=lambda of: of[1].is_baseline):  # a row may be missing in the first measure
        found = "" if line.effect is None else f"  {line.effect.relative:+.1%} {line.effect.verdict}"
        cells.setdefault(line.title, {})[measure] = f"{line.mean:.4f}{found}"
    for title, of_row in cells.items():
        table.add_row(escape(title), *(of_row.get(measure, "-") for measure in titles))
    console = _console()
    console.print(table)
    console.print(f"\n{escape(str(out / 'index.md'))}", soft_wrap=True)


def headline(stage: str, counts: dict[str, Any]) -> str:
    """The counts of a manifest that matter most, in a few words."""
    if not counts:
        return ""
    if stage.startswith("baselines/"):  # its training, and its vectors, are those of a model
        stage = "training" if stage.endswith(".training") else "embeddings"
    match stage:
        case "tables":
            edges = sum(relation["edges"] for relation in counts["relations"].values())
            events = sum(
                sequence[part]["events"]
                for sequence in counts["sequences"].values()
                for part in ("train", "validation", "test")
            )
            entities = sum(counts["entities"].values())
            return f"{entities:,} entities, {edges:,} edges, {events:,} events"
        case "graph":
            relations = counts["relations"].values()
            listed, kept = (
                sum(sum(relation[which].values()) for relation in relations) for which in ("listed", "kept")
            )
            edges = sum(relation["edges"] for relation in relations)
            return f"{edges:,} edges, pruning keeps {kept / max(listed, 1):.0%} of {listed:,} list entries"
        case "neighbors":
            mass = sum(type_["mass"] for type_ in counts.values()) / len(counts)
            return f"{len(counts)} entity types, {mass:.0%} of the walk kept"
        case "training":
            steps, score = counts["steps"], counts["validation_score"]
            return f"{counts['parameters']:,} parameters, best of {steps:,} steps, validation score {score:.3f}"
        case "embeddings":
            entities, users = sum(counts["entities"].values()), sum(counts["users"].values())
            text = f"{entities:,} entities and {users:,} users in {counts['dim']} dimensions"
            computed = counts.get("computed")
            if computed is None or computed == {name: counts[name] for name in ("entities", "users")}:
                return text
            anew = [f"{sum(computed[name].values()):,} {name}" for name in ("entities", "users")]
            return f"{text}; computed anew: {' and '.join(anew)}"
        case "explorer":
            return f"{sum(counts['points'].values()):,} entities on the map"
        case "index":
            return f"{sum(type_['entities'] for type_ in counts['types'].values()):,} vectors"
        case _:
            return ""


def _console() -> Console:
    """Standard output; in a log file, where rich assumes 80 columns, wide enough for our tables."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _LOG_COLUMNS)
    return console
