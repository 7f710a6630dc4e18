"""Says whether an artifact is still what a plan would give, and if not, why, in words."""

from pathlib import Path
from typing import Any

from omnisage.artifact import Plan, partial_folder, read_manifest
from omnisage.errors import OmnisageError

_MAX_NAMED = 3  # differences that a reason names; the rest are counted


def why_stale(folder: Path, plan: Plan) -> str | None:
    """Why the artifact in `folder` is not the result of `plan`.

    Returns:
        The reason; None when the artifact is up to date.
    """
    if not (folder / "manifest.json").exists():
        return "was interrupted, continues" if _is_interrupted(folder) else "has not run"
    try:
        done = read_manifest(folder, plan.stage).plan
    except OmnisageError as damaged:
        return str(damaged)
    reasons: list[str] = []
    if done.config != plan.config:
        reasons.append("config changed: " + named(changed_fields(done.config, plan.config)))
    if done.seed != plan.seed:
        reasons.append(f"seed changed: {done.seed} -> {plan.seed}")
    inputs = [
        f"{name} {_change(done.inputs.get(name), plan.inputs.get(name))}"
        for name in sorted(done.inputs.keys() | plan.inputs.keys())
        if done.inputs.get(name) != plan.inputs.get(name)
    ]
    if inputs:
        reasons.append("input " + named(inputs))
    return "; ".join(reasons) or None


def _is_interrupted(folder: Path) -> bool:
    return any((partial_folder(folder) / name).exists() for name in ("plan.json", "manifest.json"))


def _change(old: str | None, new: str | None) -> str:
    if old is None:
        return "is new"
    return "is gone" if new is None else "changed"


def changed_fields(old: Any, new: Any, path: str = "") -> list[str]:
    """The innermost fields that differ, with old and new value: `prune.alpha: 0.86 -> 0.7`."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        return [
            change
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) or (name in old) != (name in new)
            for change in changed_fields(old.get(name), new.get(name), f"{path}.{name}" if path else name)
        ]
    if isinstance(old, dict | list) or isinstance(new, dict | list):
        return [path]
    return [f"{path}: {old} -> {new}"]


def named(differences: list[str]) -> str:
    """The first differences, and how many more there are."""
    more = len(differences) - _MAX_NAMED
    return ", ".join(differences[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
