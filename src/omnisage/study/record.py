"""What a finished run of a row leaves: a small JSON, and the units its values belong to, which runs share.

    <out>/rows/<row>-seed<seed>.json     figures, values of every unit, and where and when they were found
    <out>/units/<hash>.json.gz           ids of users or query entities, in the order of the values

A record stands for its run: artifacts may be deleted. It is written last and by a rename, so it is there whole or not
at all. Values are float32, deflated, in base 64.
"""

import base64
import gzip
import json
import zlib
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnisage.artifact import replace_file, write_json
from omnisage.errors import OmnisageError
from omnisage.evaluation.pooling import UnitValues

FORMAT_VERSION = 1
_NAME_DIGITS = 16


@dataclass(frozen=True)
class Provenance:
    """Where and when a run was made."""

    commit: str  # of the code, "+ changes" where files differ from it; "unknown" outside a repository
    machine: str
    finished: str  # date and time, UTC
    seconds: dict[str, float]  # by stage that had to run


@dataclass(frozen=True)
class RunRecord:
    """All that is kept of a row with a seed."""

    row: str
    seed: int
    key: str  # `Run.key`
    tables: str  # sha256 of what its tables are made of: files, encoders, images
    part: str
    changes: dict[str, Any]
    num_steps: int  # after which training ended
    num_parameters: int
    validation_score: float
    means: dict[str, dict[str, float]]  # "<task> <name>" -> method -> mean over units, all entities candidates
    values: dict[str, dict[str, UnitValues]]  # measure -> method -> values
    provenance: Provenance


def record_path(out: Path, name: str) -> Path:
    """Where the record of a run is."""
    return out / "rows" / f"{name}.json"


def write_record(record: RunRecord, out: Path, name: str) -> None:
    """Write a record and the units that it names."""
    stored = asdict(record) | {"format_version": FORMAT_VERSION}
    stored["values"] = {
        measure: {
            method: {"units": _write_units(out, of_method.units), "values": _pack(of_method.values)}
            for method, of_method in methods.items()
        }
        for measure, methods in record.values.items()
    }
    path = record_path(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, stored)


def read_record(out: Path, name: str) -> RunRecord | None:
    """Read the record of a run; None if it has not finished.

    Raises:
        OmnisageError: the record, or a file of units, is damaged.
    """
    path = record_path(out, name)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        if stored.pop("format_version") != FORMAT_VERSION:
            raise ValueError("another version of omnisage wrote it")
        stored["values"] = {
            measure: {
                method: UnitValues(_read_units(out, packed["units"]), _unpack(packed["values"]))
                for method, packed in methods.items()
            }
            for measure, methods in stored["values"].items()
        }
        record = RunRecord(**stored | {"provenance": Provenance(**stored["provenance"])})
        if any(len(of.units) != len(of.values) for methods in record.values.values() for of in methods.values()):
            raise ValueError("units and values differ in number")
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise OmnisageError(f"{path} is damaged ({error}); delete it, and run `omnisage ablate` again") from error
    return record


def _write_units(out: Path, units: NDArray[np.str_]) -> str:
    text = json.dumps(units.tolist(), ensure_ascii=False).encode()
    name = sha256(text).hexdigest()[:_NAME_DIGITS]
    path = out / "units" / f"{name}.json.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(gzip.compress(text, mtime=0))
        replace_file(temporary, path)
    return name


def _read_units(out: Path, name: str) -> NDArray[np.str_]:
    text = gzip.decompress((out / "units" / f"{name}.json.gz").read_bytes())
    return np.array(json.loads(text), dtype=np.str_)


def _pack(values: NDArray[np.float64]) -> str:
    return base64.b64encode(zlib.compress(values.astype("<f4").tobytes(), 9)).decode()


def _unpack(text: str) -> NDArray[np.float64]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f4").astype(np.float64)
