"""Small images and tiny encoders, made for tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 40, width: int = 30) -> np.ndarray:
    """A smooth random picture [height, width, 3] uint8."""
    coarse = np.random.default_rng(seed).integers(256, size=(5, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def to_file(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_images(folder: Path, seeds: dict[str, int]) -> None:
    """Write `<folder>/<name>` for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds.items():
        (folder / name).write_bytes(to_file(pixels(seed)))
