"""Reads `omnisage.yaml`, lets `--set` replace fields, and explains what is wrong with path and line.

YAML is read as plain data: no tags, no aliases (nothing can refer to itself or blow up when expanded), no key
twice, and only `true` and `false` are booleans, so that a column may be called `no` or `on`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from omnisage.errors import OmnisageError
from omnisage.tables.config import Feature

FieldPath = tuple[str | int, ...]

_BOOLEAN = "tag:yaml.org,2002:bool"
_MAX_SHOWN = 60  # characters of a value that an error repeats

# What a pattern of our config models means, in words.
_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9_]*$": "a name: letters, digits and '_', beginning with a letter",
    r"^\d+ ?(MB|GB|TB)$": "a size such as 500MB or 2GB",
    r"^[a-z0-9][a-z0-9._-]*$": "a name of a row: small letters, digits, '.', '_', '-'",
}
_TYPES = {
    "string_type": "text; put a number, a date or true in quotes to use it as text",
    "model_type": "a section of 'field: value' lines",
    "model_attributes_type": "a section of 'field: value' lines",
    "dict_type": "a section of 'name: ...' lines",
    "list_type": "a list such as [a, b]",
}


@dataclass(frozen=True)
class ConfigFile:
    """The content of a config file as plain values, and where each field was given."""

    path: Path
    values: dict[str, Any]
    places: dict[FieldPath, str]  # path of a field -> "line 12" or "--set seed=3"


class _Loader(yaml.SafeLoader):
    """Plain YAML: see the docstring of the module."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _at(self.peek_event(), "aliases (*name) are not read; write the value out")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(true|false)$"), list("tf"))


def read_config_file(path: Path, overrides: Sequence[str] = ()) -> ConfigFile:
    """Read a config file and replace the fields named by `overrides`.

    Args:
        path: a YAML file.
        overrides: `training.num_steps=500`, the value in YAML.

    Raises:
        OmnisageError: the file cannot be read, is no YAML, or an override is not of that form.
    """
    if path.is_dir():
        raise OmnisageError(f"{path} is a folder; give the config file, such as {path / 'omnisage.yaml'}")
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise OmnisageError(f"{path} does not exist; give the path of a config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OmnisageError(f"{path} cannot be read as UTF-8 text: {error}") from error
    places: dict[FieldPath, str] = {}
    values = _parse(text, str(path), places)
    if not isinstance(values, dict):
        what = "is empty" if values is None else f"holds {_shown(values)}"
        raise OmnisageError(f"{path} {what}; it must hold 'field: value' lines, beginning with 'name: ...'")
    config_file = ConfigFile(path, values, places)
    for text in overrides:
        _override(config_file, text)
    return config_file


def explain(refused: ValidationError, config_file: ConfigFile) -> str:
    """Every error in words: place, path of the field, what was given, what is allowed."""
    lines: list[str] = []
    for error in refused.errors(include_url=False):
        path, message = _field_path(error, config_file.values), _message(error)
        given = path
        while given and given not in config_file.places:
            given = given[:-1]
        place = config_file.places.get(given)
        lines.append(": ".join(part for part in (place, ".".join(map(str, path)), message) if part))
    if len(lines) == 1:
        return f"{config_file.path}, {lines[0]}"
    return "\n  ".join([f"{config_file.path} has {len(lines)} errors:", *lines])


def _parse(text: str, source: str, places: dict[FieldPath, str]) -> Any:
    """YAML text as plain values; the line of every field goes into `places`."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _construct(loader, node, (), places)
    except RecursionError:
        raise OmnisageError(f"{source} is nested too deeply to be a config; flatten it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        begun = error.context_mark
        context = f" ({error.context} that begins on line {begun.line + 1})" if begun else ""
        raise OmnisageError(f"{source}{place}: {error.problem}{context}") from None
    except yaml.YAMLError as error:
        raise OmnisageError(f"{source} is not YAML: {error}") from None


def _construct(loader: _Loader, node: yaml.Node, path: FieldPath, places: dict[FieldPath, str]) -> Any:
    places[path] = f"line {node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return [_construct(loader, child, (*path, i), places) for i, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
        key = _scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise _at(key_node, "the name of a field must be text; put a number, a date or true in quotes")
        if key in mapping:
            first = places[(*path, key)]
            raise _at(key_node, f"'{key}' is given twice, first on {first}; keep one of them")
        mapping[key] = _construct(loader, child, (*path, key), places)
        places[(*path, key)] = f"line {key_node.start_mark.line + 1}"
    return mapping


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node)
    except ValueError as error:  # a date such as 2020-13-01
        raise _at(node, f"{node.value!r} cannot be read ({error}); put text in quotes") from None


def _at(node: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _override(config_file: ConfigFile, text: str) -> None:
    """Replace one field in place, e.g. `training.num_steps=500`; sections that are absent are made."""
    dotted, equals, value_text = text.partition("=")
    if not equals or not all(dotted.split(".")):
        raise OmnisageError(f"--set takes field=value, such as --set training.num_steps=500; got '{text}'")
    value = _parse(value_text, f"--set {text}", {})
    path: list[str | int] = []
    container: Any = config_file.values
    *sections, last = dotted.split(".")
    for name in sections:
        key = _key(container, name, text)
        path.append(key)
        if isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
        container = container[key]
    key = _key(container, last, text)
    container[key] = value
    whole = (*path, key)
    for old in [old for old in config_file.places if old[: len(whole)] == whole]:
        del config_file.places[old]
    config_file.places[whole] = f"--set {text}"


def _key(container: Any, name: str, text: str) -> str | int:
    if isinstance(container, dict):
        return name
    if not isinstance(container, list):
        given = _shown(container)
        raise OmnisageError(f"--set {text}: '{name}' would be a field of {given}, which has no fields")
    if not name.isascii() or not name.isdigit() or int(name) >= len(container):
        allowed = f"0 to {len(container) - 1}" if container else "none, the list is empty"
        raise OmnisageError(f"--set {text}: there is no entry '{name}' in the list (allowed: {allowed})")
    return int(name)


def _field_path(error: ErrorDetails, values: Any) -> FieldPath:
    """The path of a field as it is written in the file: without pydantic's union tags and key marks."""
    path: list[str | int] = []
    tag_seen = False
    for element in error["loc"]:
        if element == "[key]":
            continue
        if isinstance(values, dict) and values.get("kind") == element and not tag_seen:
            tag_seen = True
            continue
        path.append(element)
        tag_seen = False
        try:
            values = values[element]
        except (KeyError, IndexError, TypeError):
            values = None
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path.append("kind")
    return tuple(path)


def _message(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    given = _shown(error["input"])
    match kind:
        case "omnisage":
            return error["msg"]
        case "missing":
            return "this field is missing; add it"
        case "value_error":
            return str(context["error"])
        case "union_tag_not_found":
            return f"this field is missing; add one of {_feature_kinds()}"
        case "union_tag_invalid":
            return f"got {_shown(error['input']['kind'])}; allowed: {context['expected_tags']}"
        case "literal_error":
            return f"got {given}; allowed: {context['expected']}"
        case "string_pattern_mismatch":
            return f"got {given}; it must be {_PATTERNS.get(context['pattern'], context['pattern'])}"
        case _ if kind in _TYPES:
            return f"got {given}; it must be {_TYPES[kind]}"
        case _:
            rule = re.sub(r"^(Input|String|List|Dictionary|Value) should", "it must", error["msg"])
            rule = re.sub(r"(, unable to parse| after validation, not).*$", "", rule)
            return f"got {given}; {rule}"


def _feature_kinds() -> str:
    options = get_args(get_args(Feature)[0])
    return ", ".join(repr(get_args(option.model_fields["kind"].annotation)[0]) for option in options)


def _shown(value: Any) -> str:
    """A value as YAML would write it on one line, cut to a readable length."""
    if value is None:
        return "nothing"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
