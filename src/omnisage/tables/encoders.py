"""Encoders: models of the user's that make a vector of an image or a text, found on disk and never downloaded.

An encoder is a folder with a Hugging Face model (weights as safetensors), or an installed package that has one such
folder. The hash of its files is part of what makes the `tables` stage stale, and names its vectors in the cache.
"""

import importlib.metadata
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from omnisage.errors import OmnisageError
from omnisage.tables.config import Feature, ImageFeature, TextFeature
from omnisage.tables.digests import FileDigests

# What a model is read from: its config, its weights, its vocabulary. Pickled weights are never opened.
_SUFFIXES = {".json", ".safetensors", ".txt", ".model"}
_NEEDED = {
    "image": ("config.json", "preprocessor_config.json"),
    "text": ("config.json", "tokenizer.json"),
}
# Raise the number when the same files begin to give other vectors: it is part of what names vectors in the cache.
_VERSIONS = {"image": 1, "text": 1}


@dataclass(frozen=True)
class Encoder:
    """What makes vectors of a feature's images or texts."""

    field: str  # of the config, e.g. "entities.movie.features.poster"
    kind: str  # image, text
    name: str  # as the config writes it
    folder: Path | None  # of the model; None: the built-in encoder of images

    def sha256(self, digests: FileDigests) -> str:
        """What the vectors depend on beside the content: the kind, our version, and the model's files."""
        identity = sha256(f"{self.kind} {_VERSIONS[self.kind]}\n".encode())
        if self.folder is not None:
            for path in _model_files(self.folder):
                name = path.relative_to(self.folder).as_posix()
                identity.update(f"{digests.sha256(path)} {name}\n".encode())
        return identity.hexdigest()


def find_encoder(field: str, feature: Feature, base: Path) -> Encoder | None:
    """The encoder of a feature; None if it has none.

    Args:
        field: of the config, for errors.
        feature: its config.
        base: the folder of the config file, to which the encoder's may be relative.

    Raises:
        OmnisageError: there is no such folder or package, or a file that a model needs is missing.
    """
    if isinstance(feature, ImageFeature) and feature.encoder is None:
        return Encoder(field, "image", "built-in", None)
    if not isinstance(feature, ImageFeature | TextFeature) or feature.encoder is None:
        return None
    folder = base / feature.encoder
    if not folder.is_dir():
        folder = _folder_of_package(field, feature.encoder, base)
    missing = [name for name in _NEEDED[feature.kind] if not (folder / name).is_file()]
    if missing or not any(folder.glob("*.safetensors")):
        raise OmnisageError(
            f"{field}.encoder: {folder} has no {' and no '.join(missing or ['*.safetensors'])}; a model of "
            f"{feature.kind}s is a folder with {', '.join(_NEEDED[feature.kind])} and its weights as safetensors, as "
            "`save_pretrained` of transformers writes it"
        )
    return Encoder(field, feature.kind, feature.encoder, folder)


def _model_files(folder: Path) -> list[Path]:
    """The files of a model, sorted; what lies in hidden folders is none of them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _folder_of_package(field: str, name: str, base: Path) -> Path:
    """The one folder of an installed package that has a model; nothing of the package is run."""
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise OmnisageError(
            f"{field}.encoder: '{name}' is neither a folder (relative to {base.resolve()}) nor an installed package; "
            "correct the path, or install the package (nothing is downloaded)"
        ) from None
    files = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
    folders = sorted({path.parent for path in files if path.suffix == ".safetensors"})
    found = [folder for folder in folders if (folder / "config.json").is_file()]
    if len(found) != 1:
        raise OmnisageError(
            f"{field}.encoder: the package '{name}' has {len(found)} folders with config.json and *.safetensors; "
            "name one folder instead"
        )
    return found[0]
