"""The `omnisage` command: `run`, `status`, `ablate`, stages, baselines, `search`, `schema`, `fetch` and `convert`.

Nothing heavy is imported here: stages and data set readers load when they run, so help answers at once.
"""

import json
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from omnisage import __version__
from omnisage.baseline_stages import BASELINES, run_baseline
from omnisage.errors import OmnisageError
from omnisage.launch import read_launch
from omnisage.pipeline import STAGES, Job, Stage
from omnisage.place import Force, Place
from omnisage.runner import run_one, run_stale
from omnisage.status_command import status
from omnisage.study.command import ablate
from omnisage.terminal import print_error, print_found, print_outcomes, print_results
from omnisage.use_commands import explain, explorer, serve

app = App(
    name="omnisage",
    help_format="markdown",
    version=__version__,
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
)
app.help = """One embedding per entity, learned from your tables.

A config file says what your tables mean. From it, seven stages make embeddings of every entity and every user, an
index to search them, and a report that says how good they are:

    tables -> graph -> neighbors -> training -> embeddings -> index -> evaluation

Each stage writes one folder of the workspace, `workspace/` beside the config file. Start with:

    omnisage run omnisage.yaml
"""

# The keys of `omnisage.datasets.DATASETS`, repeated so that help need not load its readers.
Dataset = Literal["movielens_100k", "movielens_latest_small", "movietweetings", "hetrec_lastfm", "s3rec", "citeulike_t"]

# The names of `omnisage.baseline_stages.BASELINES`, repeated because help is made of them.
BaselineName = Literal["content", "pinsage", "gat", "gat_2hops", "lightgcn", "two_tower", "sasrec", "pinnerformer"]

_PIPELINE = Group("Whole pipeline", sort_key=0)
_STAGE = Group("One stage, in order", sort_key=1)
_USE = Group("Use the embeddings", sort_key=2)
_DATA = Group("Config and data", sort_key=3)
_OPTIONS = Group("Options", sort_key=4)

# torchrun kills all processes when one of them ends: those that print nothing wait for the one that does.
_GRACE_S = 2.0

app["--help"].group = app["--version"].group = _OPTIONS


@app.command(group=_PIPELINE)
def run(place: Place, *, force: Force = False) -> None:
    """Run every stage that is stale, then print the results and where the report is.

    A stage is stale when its config, the seed or one of its inputs changed. An interrupted run continues where it
    stopped.

    Example: `omnisage run omnisage.yaml --set training.num_steps=500`
    """
    job = place.job()
    print_outcomes(run_stale(job, force=force))
    _print_evaluation(job, place)


app.command(status, group=_PIPELINE)


@app.command(group=_PIPELINE)
def refresh(place: Place) -> None:
    """Embed what the tables hold now, with the model as it is; train nothing.

    For a nightly job, after rows have been added, changed or removed. Runs `tables`, `graph`, `neighbors`, `embeddings`
    and `index` where they are stale; only entities and users whose inputs changed are computed anew. `omnisage run`
    trains anew, when it is time for that.

    Example: `omnisage refresh omnisage.yaml`
    """
    from omnisage.refresh import refresh as refresh_embeddings

    print_outcomes(refresh_embeddings(place.job()))


@app.command(group=_PIPELINE)
def export(
    place: Place,
    *,
    out: Annotated[Path | None, Parameter(help="Folder to write. Default: export/ in the workspace.")] = None,
    formats: Annotated[
        tuple[Literal["torch", "onnx"], ...],
        Parameter(name="--format", negative="", help="Kinds of files; may be given again. Default: both."),
    ] = ("torch", "onnx"),
) -> None:
    """Write the trained embedders and user model as graphs for other runtimes, each checked against the model.

    A JSON file beside each graph says what goes in. ONNX needs `pip install 'omnisage[export]'`.

    Example: `omnisage export omnisage.yaml --format onnx`
    """
    from omnisage.embeddings.export import export as export_graphs

    job = place.job()
    folder = out or job.workspace / "export"
    counts = export_graphs(job.folder("training"), folder, formats).counts
    print(f"{folder}: {', '.join(counts['graphs'])}")


def _add_stage(stage: Stage, position: int) -> None:
    def run_stage(place: Place, *, force: Force = False) -> None:
        job = place.job()
        outcome = run_one(job, stage.name, force=force)
        if read_launch().is_first:
            print_outcomes([outcome])
        if stage.name == "evaluation":
            _print_evaluation(job, place)

    reads = ", ".join(f"`{name}/`" for name in stage.inputs) or "the tables that the config names"
    text = (
        f"{stage.summary}.\n\nReads {reads}; writes `{stage.name}/`. Refuses inputs that are missing or stale, and "
        f"says which command makes them.\n\nExample: `omnisage {stage.name} omnisage.yaml`"
    )
    app.command(run_stage, name=stage.name, help=text, group=_STAGE, sort_key=position)


for _position, _stage in enumerate(STAGES):
    _add_stage(_stage, _position)


def _add_baseline() -> None:
    def baseline(name: BaselineName, place: Place, *, force: Force = False) -> None:
        print_outcomes(run_baseline(place.job(), name, force=force))

    listed = "\n".join(f"- `{of.name}`: {of.summary}" for of in BASELINES)
    text = (
        "Train a baseline that the model is compared with, and write its vectors to `baselines/NAME/`.\n\n"
        f"{listed}\n\n"
        "All learn from the tables, graph and neighbors that the model learns from, with the budget of `training` "
        "unless the section `baselines` of the config sets another. The next `omnisage run` or `omnisage evaluation` "
        "measures it beside the model; one that has become stale is left out, with a message. What each is, its "
        "source, and what differs: `docs/baselines.md`.\n\n"
        "Example: `omnisage baseline content omnisage.yaml`, then `omnisage run omnisage.yaml`"
    )
    app.command(baseline, name="baseline", help=text, group=_PIPELINE)


_add_baseline()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a search looks for."""

    to: Annotated[str | None, Parameter(help="The entity type that is searched. Default: that of TYPE.")] = None
    k: Annotated[int, Parameter(help="How many.")] = 10
    where: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="A condition on a number or category: year=1994, year=1990..1999, classes=Comedy,Drama. May be given "
            "again; all must hold.",
        ),
    ] = ()
    queries: Annotated[
        Path | None,
        Parameter(
            help="Folder of embeddings of an earlier training, whose vector asks; the index has to be aligned to them "
            "(index.align_to)."
        ),
    ] = None


@app.command(group=_USE)
def search(
    place: Place,
    asker: Annotated[str, Parameter(name="TYPE")],
    name: Annotated[str, Parameter(name="ID")],
    wanted: Wanted = Wanted(),
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> None:
    """Print the entities nearest to an entity or to a user.

    Example: `omnisage search omnisage.yaml movie "Toy Story" --where year=1990..1999`

    Args:
        asker: An entity type; or a sequence, whose users ask and are not given what they have had.
        name: Id or name of the entity, id of the user.
        as_json: Print a JSON list of id, name and score.
    """
    from omnisage.search import find_nearest

    found = find_nearest(place.job(), asker, name, to=wanted.to, k=wanted.k, where=wanted.where, queries=wanted.queries)
    print_found(found, as_json=as_json)


@app.command(group=_DATA)
def schema(of: Literal["config", "status"] = "config") -> None:
    """Print the JSON schema of the config file, from which editors complete and check it.

    Example: `omnisage schema > omnisage.schema.json`, then let the config begin with
    `# yaml-language-server: $schema=omnisage.schema.json`

    Args:
        of: `status`: of what `omnisage status --json` prints.
    """
    from omnisage.config import json_schema
    from omnisage.status import status_schema

    print(json.dumps(json_schema() if of == "config" else status_schema(), indent=1))


app.command(ablate, group=_PIPELINE)
for _command in (serve, explorer, explain):
    app.command(_command, group=_USE)

_fetch = App(name="fetch", help="Fetch the data of a demo.", group=_DATA)
app.command(_fetch)


@_fetch.command
def movielens(folder: Path) -> None:
    """Fetch MovieLens 100K with its knowledge graph, check it, and turn it into tables.

    What is complete in the folder is not fetched again. Example: `omnisage fetch movielens examples/movielens/data`

    Args:
        folder: Where the tables go.
    """
    from omnisage.datasets.movielens_100k import fetch

    _print_tables(fetch(folder), folder)


@app.command(group=_DATA)
def convert(dataset: Dataset, source: Path, out: Path) -> None:
    """Turn the official files of a public data set into tables, and print their rows.

    Example: `omnisage convert movietweetings downloads/movietweetings tables/`

    Args:
        dataset: Which data set; `docs/datasets.md` describes them.
        source: Folder with the official files.
        out: Folder that the Parquet tables are written to.
    """
    from omnisage.datasets import convert as convert_dataset

    _print_tables(convert_dataset(dataset, source, out), out)


def main() -> None:
    """Entry point: errors that the user can fix are one line and exit code 2, Ctrl-C is 130.

    All codes: `docs/orchestration.md`.
    """
    # Threads of torch that wait by spinning take the cores from those that work: on a busy machine a training step
    # of 0.1 s took 2.9 s. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(_call(sys.argv[1:]))


def _call(arguments: list[str]) -> int:
    try:
        _refuse_many_processes(arguments)
        app(arguments)
    except OmnisageError as error:
        return _refuse(error)
    except CycloptsError as error:
        command = " ".join(["omnisage", *(error.command_chain or ())])
        print_error(f"{error}\nsee `{command} --help`")
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command to continue", file=sys.stderr)
        return 130
    return 0


def _refuse_many_processes(arguments: list[str]) -> None:
    if read_launch().num_ranks > 1 and arguments[:1] != ["training"]:
        raise OmnisageError(
            "under torchrun only `omnisage training` runs; run the stages before it and after it without torchrun: "
            "`omnisage tables`, `graph` and `neighbors`, then this, then `omnisage run` for the rest"
        )


def _refuse(error: OmnisageError) -> int:
    """Say what is wrong, once: processes of torchrun all meet the same mistake, the first of a machine says it."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print_error(str(error))
    else:
        time.sleep(_GRACE_S)
    return 2


def _print_evaluation(job: Job, place: Place) -> None:
    from omnisage.evaluation.artifact import summary_rows

    headers, rows = summary_rows(job.folder("evaluation"))
    command = sys.argv[0] if Path(sys.argv[0]).name == "omnisage" else "omnisage"
    workspace = [] if place.workspace is None else ["--workspace", str(place.workspace)]
    serve = shlex.join([command, "serve", str(place.config), *workspace])
    print_results(headers, rows, job.folder("evaluation") / "report.html", serve)


def _print_tables(num_rows: dict[str, int], folder: Path) -> None:
    for table, rows in num_rows.items():
        print(f"{folder / table}.parquet: {rows:,} rows")
