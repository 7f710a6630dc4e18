"""citeulike-t: users' libraries of papers, with tags, citations and a bag of words; no times.

Reads `users.dat`, `tag-item.dat`, `citations.dat`, `mult.dat`, `tags.dat`, `vocabulary.dat`. Ids are line numbers
from 0. Without times there are no sequences: a library is an entity, linked with its papers.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from omnisage.datasets.delimited import damaged, read_lines
from omnisage.datasets.parquet import edge_table


def read(source: Path) -> dict[str, pa.Table]:
    """Read the official folder.

    Returns:
        Entities `papers` (paper_id, words: its distinct words), `libraries` (library_id), `tags` (tag_id, name);
        relations `in_library`, `has_tag`, `cites` (one row per pair of papers).
    """
    words = [word for _, word in read_lines(source / "vocabulary.dat")]
    bags = _read_bags(source / "mult.dat", words)
    tags = [tag for _, tag in read_lines(source / "tags.dat")]
    libraries = list(_read_lists(source / "users.dat", len(bags)))
    tagged = _read_lists(source / "tag-item.dat", len(bags))
    cited = _read_lists(source / "citations.dat", len(bags))
    return {
        "papers": pa.table({"paper_id": range(len(bags)), "words": pa.array(bags, pa.list_(pa.string()))}),
        "libraries": pa.table({"library_id": range(len(libraries))}),
        "tags": pa.table({"tag_id": range(len(tags)), "name": tags}),
        "in_library": edge_table(
            ("library_id", "paper_id"), {(u, paper) for u, papers in enumerate(libraries) for paper in papers}
        ),
        "has_tag": edge_table(
            ("paper_id", "tag_id"), {(paper, tag) for tag, papers in enumerate(tagged) for paper in papers}
        ),
        # The file lists a citation under both papers; that a paper cites itself says nothing.
        "cites": edge_table(
            ("paper_id", "other_paper_id"),
            {(min(a, b), max(a, b)) for a, others in enumerate(cited) for b in others if a != b},
        ),
    }


def _read_lists(path: Path, num_papers: int) -> Iterator[list[int]]:
    """Lines such as '2 15 20': a count, then that many papers."""
    for line, entries in _counted_lines(path):
        try:
            papers = [int(entry) for entry in entries]
        except ValueError as error:
            raise damaged(path, line, f"a paper is no whole number ({error})") from error
        for paper in papers:
            if not 0 <= paper < num_papers:
                raise damaged(path, line, f"paper {paper} does not exist, mult.dat has 0 to {num_papers - 1}")
        yield papers


def _read_bags(path: Path, words: list[str]) -> list[list[str]]:
    """Lines such as '2 7:1 9:4': a count, then that many words, each with how often it stands in the paper."""
    bags: list[list[str]] = []
    for line, entries in _counted_lines(path):
        try:
            bags.append([words[int(entry.split(":")[0])] for entry in entries])
        except (ValueError, IndexError) as error:
            problem = f"an entry is no 'word:count' with a word below {len(words)} ({error})"
            raise damaged(path, line, problem) from error
    return bags


def _counted_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    for line, row in read_lines(path):
        count, *entries = row.split() or [""]
        if count != str(len(entries)):
            raise damaged(path, line, f"the line says {count!r} entries and has {len(entries)}")
        yield line, entries
