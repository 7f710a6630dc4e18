"""Bad configs are refused with place, path, what was given and what is allowed; good ones round-trip."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from omnisage.config import Config, json_schema, load_config
from omnisage.engine import THREADS, RayEngine
from omnisage.errors import OmnisageError

MINIMAL = """\
name: shop
entities:
  item:
    table: items.parquet
    id: item_id
    features:
      title: {kind: text, columns: [title]}
  maker: {table: makers.parquet, id: maker_id}
relations:
  made_by: {table: made.parquet, source: {entity: item, column: i}, target: {entity: maker, column: m}}
sequences:
  user: {table: events.parquet, user: u, entity: item, column: i, time: t}
pairs:
  bought_next: {from_sequence: user}
split: {train_end: "2020-01-02"}
"""


def load(folder: Path, text: str, *overrides: str) -> Config:
    path = folder / "omnisage.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(OmnisageError) as caught:
        load(folder, text, *overrides)
    return str(caught.value)


def with_values(changes: dict[str, Any]) -> dict[str, Any]:
    return yaml.safe_load(MINIMAL) | changes


def test_a_minimal_config_gets_every_default_and_splits_into_the_configs_of_the_stages(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.split.train_end == 1577923200
    assert config.tables.entities == config.entities
    assert config.tables.memory_limit == config.memory_limit
    assert config.learning.training == config.training
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_an_engine_is_chosen_by_its_kind(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "engine.neighbors={kind: ray, num_workers: 3}", "engine.embeddings.kind=ray")
    assert config.engine.neighbors == RayEngine(kind="ray", num_workers=3)
    assert config.engine.embeddings == RayEngine(kind="ray")
    assert load(tmp_path, MINIMAL).engine.neighbors == THREADS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("engine.neighbors.kind=dask", "engine.neighbors"),
        ("engine.neighbors={kind: ray, adress: auto}", "did you mean 'address'"),
        ("engine.neighbors={kind: ray, storage: bucket/prefix}", "engine.neighbors.storage"),
        ("engine.embeddings={kind: threads, num_workers: 2}", "there is no field 'num_workers'"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(tmp_path: Path, given: str, message: str) -> None:
    assert message in refusal(tmp_path, MINIMAL, given)


def test_an_override_is_typed_by_its_field(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        MINIMAL,
        "training.num_steps=500",
        "evaluation.ks=[1, 5]",
        "graph.prune=null",
        "training.learning_rate=1e-4",
        "entities.item.features.title.columns.0=name",
        "split.train_end=2020-01-03",
    )
    assert config.training.num_steps == 500
    assert config.evaluation.ks == [1, 5]
    assert config.graph.prune is None
    assert config.training.learning_rate == 1e-4
    assert config.entities["item"].features["title"].model_dump()["columns"] == ["name"]
    assert config.split.train_end == 1577923200 + 86400


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.num_step=5", "--set training.num_step=5: training.num_step: there is no field 'num_step'; did you"),
        ("training.num_steps=many", 'training.num_steps: got "many"; it must be a valid integer'),
        ("training.num_steps", "--set takes field=value, such as --set training.num_steps=500; got 'training.num_st"),
        ("training..x=5", "--set takes field=value"),
        ("name.first=x", "--set name.first=x: 'first' would be a field of \"shop\", which has no fields"),
        ("entities.item.features.title.columns.7=x", "there is no entry '7' in the list (allowed: 0 to 0)"),
        ("training.num_steps=[", "--set training.num_steps=[, line 1, column 2: "),
        ("training=5", "training: got 5; it must be a section of 'field: value' lines"),
    ],
)
def test_a_bad_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    assert message in refusal(tmp_path, MINIMAL, override)


def test_every_mistake_is_listed_with_its_line(tmp_path: Path) -> None:
    text = MINIMAL.replace("kind: text", "kind: txt").replace("id: item_id", "idd: item_id") + "model: {dim: 0}\n"
    lines = refusal(tmp_path, text).splitlines()
    assert lines[0] == f"{tmp_path / 'omnisage.yaml'} has 4 errors:"
    assert lines[1:] == [
        "  line 3: entities.item.id: this field is missing; add it",
        '  line 7: entities.item.features.title.kind: got "txt"; '
        "allowed: 'text', 'number', 'category', 'vector', 'image'",
        "  line 5: entities.item.idd: there is no field 'idd'; did you mean 'id'? (allowed: features, id, name, table)",
        "  line 16: model.dim: got 0; it must be greater than 0",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("columns: [title]", "column: [title]", "features.title.columns: this field is missing; add it"),
        (
            "{kind: text, columns: [title]}",
            "{columns: [title]}",
            "title.kind: this field is missing; add one of 'text'",
        ),
        ("columns: [title]", "columns: []", "features.title.columns: got []; it must have at least 1 item"),
        ("columns: [title]", "columns: [2020]", "columns.0: got 2020; it must be text; put a number, a date"),
        ("  item:", "  my item:", "entities.my item: got \"my item\"; it must be a name: letters, digits and '_'"),
        ("  item:", "  1:", "line 3, column 3: the name of a field must be text"),
        ("name: shop", "name: shop\nname: shop", "line 2, column 1: 'name' is given twice, first on line 1; keep one"),
        (
            "name: shop",
            "name: &n shop\nseed: *n",
            "line 2, column 7: aliases (*name) are not read; write the value out",
        ),
        ("name: shop", "name: !!python/object:os.system x", "could not determine a constructor for the tag"),
        ("name: shop", "name: 2020-13-41", "line 1, column 7: '2020-13-41' cannot be read"),
        (
            "name: shop",
            "name: [",
            "line 3, column 7: expected ',' or ']', but got ':' (while parsing a flow sequence that",
        ),
        ("name: shop", "seed: 1", "name: this field is missing; add it"),
        (
            "entity: item, column: i}, t",
            "entity: itme, column: i}, t",
            "there is no entity type 'itme'; did you mean 'it",
        ),
        ("u, entity: item", "u, entity: user", "sequences.user.entity: there is no entity type 'user'"),
        (
            "from_sequence: user",
            "from_sequence: users",
            "pairs.bought_next.from_sequence: there is no sequence 'users'",
        ),
        ("2020-01-02", "tomorrow", "split.train_end: 'tomorrow' is no date; write it like 1998-03-20"),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    assert message in refusal(tmp_path, MINIMAL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ("{relations: [made], take: {item: 3}}", "relations.0: there is no relation 'made'; did you mean 'made_by'?"),
        ("{relations: [made_by], take: {itm: 3}}", "take.itm: there is no entity type 'itm'; did you mean 'item'?"),
        (
            "{relations: [next], take: {maker: 3}}",
            "line 20: neighbors.subsets.item.0.take.maker: a walk from 'item' ov",
        ),
        ("{relations: [next], take: {maker: 3}}", "never meets 'maker' (allowed: item)"),
    ],
)
def test_a_subset_that_no_walk_can_serve_is_refused(tmp_path: Path, subset: str, message: str) -> None:
    relation = "relations:\n  next: {pairs: bought_next}\n"
    text = MINIMAL.replace("relations:\n", relation) + f"neighbors:\n  subsets:\n    item:\n    - {subset}\n"
    assert message in refusal(tmp_path, text)


def test_a_subset_of_a_type_that_its_relation_does_not_touch_is_refused(tmp_path: Path) -> None:
    relation = "relations:\n  next: {pairs: bought_next}\n"
    text = MINIMAL.replace("relations:\n", relation)
    text += "neighbors: {subsets: {maker: [{relations: [next], take: {item: 3}}]}}\n"
    assert "'next' links item and item, which this walk from 'maker' never meets; leave it out" in refusal(
        tmp_path, text
    )


HARD = "tasks: {entity_entity: {hard_negatives: {per_pair: 2, ranks: [5, 30]}}}\n"


def test_hard_negatives_tell_the_neighbors_stage_what_to_rank(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL).proximity.ranked is None
    ranked = load(tmp_path, MINIMAL + HARD).proximity.ranked
    assert ranked is not None
    assert ranked.ranks == (5, 30)
    assert ranked.targets == {"item": ["item", "maker"], "maker": ["item"]}  # both ways, and from event to event
    assert load(tmp_path, MINIMAL + HARD, "tasks.entity_entity.weight=0").proximity.ranked is None
    assert load(tmp_path, MINIMAL + HARD, "neighbors.eps=1e-3").proximity.eps == 1e-3
    more = load(tmp_path, MINIMAL + HARD, "tasks.entity_entity.hard_negatives.per_pair=9")
    assert more.proximity == load(tmp_path, MINIMAL + HARD).proximity  # what is ranked does not depend on it


@pytest.mark.parametrize("ranks", ["[30, 5]", "[7, 7]", "[-1, 5]", "[0, 5000]"])
def test_ranks_that_are_none_are_refused(tmp_path: Path, ranks: str) -> None:
    message = refusal(tmp_path, MINIMAL + HARD.replace("[5, 30]", ranks))
    assert f"hard_negatives.ranks: {ranks} are no ranks; give the first and the one behind the last" in message


def test_hard_negatives_without_relations_are_refused(tmp_path: Path) -> None:
    begin, end = MINIMAL.index("relations:"), MINIMAL.index("sequences:")
    message = refusal(tmp_path, MINIMAL[:begin] + MINIMAL[end:] + HARD)
    assert "tasks.entity_entity.hard_negatives: hard negatives are ranked by walks over relations" in message


def test_impressions_and_surfaces_belong_to_a_sequence(tmp_path: Path) -> None:
    more = "time: t, surface: s, impressions: {table: shown.parquet, user: u, column: i, time: t}"
    config = load(tmp_path, MINIMAL.replace("time: t", more))
    shown = config.sequences["user"].impressions
    assert shown is not None
    assert (config.sequences["user"].surface, shown.dangling) == ("s", "error")
    text = MINIMAL.replace("time: t", more.replace("column: i", "colum: i"))
    assert "sequences.user.impressions.colum: there is no field 'colum'; did you mean 'column'?" in refusal(
        tmp_path, text
    )


def test_a_config_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    bare = "name: shop\nentities:\n  item: {table: items.parquet, id: item_id}\n"
    assert "add at least one entry under relations, pairs or sequences" in refusal(tmp_path, bare)
    off = "tasks: {entity_entity: {weight: 0}, entity_feature: {weight: 0}, user_entity: {weight: 0}}\n"
    assert "tasks: no task is left to train: give a weight above 0" in refusal(tmp_path, MINIMAL + off)


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OmnisageError, match="does not exist; give the path of a config file"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(OmnisageError, match="is a folder; give the config file, such as"):
        load_config(tmp_path)
    assert "is empty; it must hold 'field: value' lines" in refusal(tmp_path, "")
    assert 'holds ["a"]; it must hold' in refusal(tmp_path, "[a]")
    assert "nested too deeply" in refusal(tmp_path, "[" * 5000)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(OmnisageError, match="cannot be read as UTF-8 text"):
        load_config(tmp_path / "latin.yaml")


def test_columns_may_be_called_no_and_on(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL.replace("user: u", "user: no").replace("time: t", "time: on"))
    assert (config.sequences["user"].user, config.sequences["user"].time) == ("no", "on")


def test_python_objects_are_checked_like_the_file() -> None:
    values = with_values({"pairs": {"p": {"from_sequence": "nobody"}}, "graf": {}})
    with pytest.raises(ValidationError, match="there is no field 'graf'; did you mean 'graph'"):
        Config.model_validate(values)
    del values["graf"]
    with pytest.raises(ValidationError, match="there is no sequence 'nobody'"):
        Config.model_validate(values)


def test_the_schema_knows_every_section_and_lets_train_end_be_a_date() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    assert {"type": "string"} in schema["$defs"]["Split"]["properties"]["train_end"]["anyOf"]


def paths_of(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(found for key, child in children for found in paths_of(child, (*path, key)))]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text("abkind:[]{}-1 ", max_size=8)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text("abc"), v, max_size=2))
FIELDS = [path for path in paths_of(yaml.safe_load(MINIMAL)) if path]


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(FIELDS), value=VALUES)
def test_whatever_stands_in_a_field_gives_a_config_or_an_explained_refusal(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], value: Any
) -> None:
    values = yaml.safe_load(MINIMAL)
    container = values
    for key in path[:-1]:
        container = container[key]
    container[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True))
    try:
        load_config(file)
    except OmnisageError as refused:
        text = str(refused)
    else:
        text = str(file)
    assert text.startswith(str(file))


def test_only_logs_of_held_out_users_ask_them(tmp_path: Path) -> None:
    asking = MINIMAL.replace("{from_sequence: user}", "{from_sequence: user, asks_held_out_users: true}")
    assert load(tmp_path, asking).pairs["bought_next"].asks_held_out_users
    alone = asking.replace('train_end: "2020-01-02"', "kind: leave_one_out")
    assert "no user is held out with split.kind: leave_one_out" in refusal(tmp_path, alone)
    from_table = MINIMAL.replace(
        "{from_sequence: user}",
        "{table: p, source: {entity: item, column: a}, target: {entity: item, column: b}, asks_held_out_users: true}",
    )
    assert "a log from a table knows no users" in refusal(tmp_path, from_table)
