"""What the run learned from: counts of the `tables` artifact."""

from datetime import UTC, datetime
from typing import Any

from omnisage.evaluation.report.html import Section, escape, paragraph, table
from omnisage.tables.artifact import Tables


def data_section(tables: Tables) -> Section:
    """Entities, relations, sequences and what is held out."""
    counts = tables.manifest.counts
    body = paragraph(_split(tables))
    body += "<h3>Entities</h3>"
    body += table(
        ["type", "features", "entities"],
        [
            [escape(name), escape(_features(counts["features"].get(name, {}))), f"{num_entities:,}"]
            for name, num_entities in counts["entities"].items()
        ],
        num_text_columns=2,
    )
    if counts["relations"]:
        body += "<h3>Relations</h3>" + _relations(counts)
    if counts["sequences"]:
        body += "<h3>Sequences</h3>" + _sequences(counts)
    return Section("data", "Data", body)


def _relations(counts: dict[str, Any]) -> str:
    rows = [
        [escape(name), escape(f"{r['source']} - {r['target']}"), f"{r['edges']:,}", f"{r['dropped']:,}"]
        for name, r in counts["relations"].items()
    ]
    return table(["relation", "between", "training edges", "rows dropped"], rows, num_text_columns=2)


def _sequences(counts: dict[str, Any]) -> str:
    rows = [
        [escape(name), escape(s["entity"]), part, f"{s[part]['users']:,}", f"{s[part]['events']:,}"]
        for name, s in counts["sequences"].items()
        for part in ("train", "validation", "test")
    ]
    return table(["sequence of", "entities", "part", "users", "events"], rows, num_text_columns=3)


def _features(features: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name} ({feature['kind']})" for name, feature in features.items()) or "none"


def _split(tables: Tables) -> str:
    if tables.leaves_one_out:
        return "Of every user the last event is the test and the last but one the validation; the rest is trained on."
    if tables.train_end is None or tables.window_end is None:
        return "There is no cut in time: users and pairs are held out."
    return (
        f"Training ends at {_date(tables.train_end)}; the test looks at what held-out users did from then until "
        f"{_date(tables.window_end)}. Test users have no event in training, and test pairs stand in no relation."
    )


def _date(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
