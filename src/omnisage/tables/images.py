"""Images to vectors: statistics that need no model, or a Hugging Face vision model of the user's.

The built-in encoder is a baseline. It knows how an image is lit, colored and outlined, and nothing of what it shows;
it takes two milliseconds and no weights.

Shapes: P pixels of a side, C color channels, B bins.
"""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.fft import dctn

from omnisage.tables.encoders import Encoder
from omnisage.tables.pretrained import FOLDER_ONLY, load_model, refusing

Vector = NDArray[np.float32]
# Files to (place among them, vector or why it cannot be read), in any order; the executor runs them side by side.
ImageEncoder = Callable[[list[bytes], Executor], Iterator[tuple[int, Vector | str]]]

_MAX_PIXELS = 50_000_000
_SIDE = 64  # pixels of the square that the built-in encoder sees
_GRID = 4  # cells of a side, in which gradients are counted
_NUM_DIRECTIONS = 8
_FREQUENCIES = (8, 4, 4)  # of a side, that are kept of brightness and of the two colors


class UnreadableImageError(Exception):
    """Bytes that are no image, or a damaged one; the message is the reason."""


def load_image_encoder(encoder: Encoder) -> ImageEncoder:
    """What turns the bytes of image files into vectors, one by one: an image's does not depend on the others.

    Raises:
        OmnisageError: the model cannot be loaded.
    """
    of_image = statistics if encoder.folder is None else _load_model(encoder)

    def attempt(content: bytes) -> Vector | str:
        try:
            return of_image(decode(content))
        except UnreadableImageError as error:
            return str(error)

    return lambda contents, pool: enumerate(pool.map(attempt, contents))


def open_image(content: bytes) -> Image.Image:
    """The image, upright; refused before its pixels are read if they are too many for what a small file may hold.

    Raises:
        UnreadableImageError: it has too many pixels. Pillow raises others, as it meets them.
    """
    image = Image.open(io.BytesIO(content))
    if image.width * image.height > _MAX_PIXELS:
        raise UnreadableImageError(f"it has {image.width} x {image.height} pixels, more than {_MAX_PIXELS:,}")
    return ImageOps.exif_transpose(image)


def decode(content: bytes) -> Image.Image:
    """The image in RGB, upright; transparent parts are white.

    Raises:
        UnreadableImageError: the bytes are no image that Pillow reads.
    """
    try:
        image = open_image(content)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, image).convert("RGB")
        return image.convert("RGB")
    except Exception as error:  # readers of damaged files raise whatever their parsing meets
        reason = "it is no image of a known format" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise UnreadableImageError(reason or type(error).__name__) from error


def statistics(image: Image.Image) -> Vector:
    """The built-in encoding, [289]: layout, color and outline, each with length 1, and the shape.

    The lowest frequencies of brightness and colors (a cosine transform, as in JPEG) say what is light and what is red
    where; the roots of color shares how much there is of each of 64 colors; the gradients' directions in 4 x 4
    cells (histograms of oriented gradients, Dalal and Triggs 2005) how edges run.
    """
    small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=3.0)
    levels_PPC = np.asarray(small.convert("YCbCr"), np.float32) / 255.0 - 0.5
    frequencies = np.asarray(dctn(levels_PPC, axes=(0, 1), norm="ortho"))
    layout = np.concatenate([frequencies[:n, :n, c].ravel() for c, n in enumerate(_FREQUENCIES)])
    quarters_PPC = np.asarray(small, np.int64) // 64
    colors = np.bincount((quarters_PPC @ np.array([16, 4, 1])).ravel(), minlength=64) ** 0.5
    aspect = np.log(image.width / image.height)
    parts = [_unit(layout), _unit(colors), _unit(_outline(levels_PPC[..., 0])), np.array([aspect])]
    return np.concatenate(parts).astype(np.float32)


def _outline(light_PP: NDArray[np.float32]) -> NDArray[np.floating]:
    """Of each cell the strength of gradients by direction (a line has none, so half a turn), [cells * directions]."""
    down, right = np.gradient(light_PP)
    # Level and upright gradients, which are common, lie in the middle of a direction, not on its border.
    direction = np.rint(np.arctan2(down, right) / np.pi * _NUM_DIRECTIONS).astype(np.int64) % _NUM_DIRECTIONS
    rows, columns = np.indices(light_PP.shape) * _GRID // _SIDE
    bins = (rows * _GRID + columns) * _NUM_DIRECTIONS + direction
    return np.bincount(bins.ravel(), np.hypot(down, right).ravel(), minlength=_GRID**2 * _NUM_DIRECTIONS) ** 0.5


def _unit(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _load_model(encoder: Encoder) -> Callable[[Image.Image], Vector]:
    """The mean of a vision model's last hidden states: every model has them, and pooling layers are often untrained."""
    assert encoder.folder is not None, "the built-in encoder has no model"
    with refusing(encoder):
        import torch
        from transformers import AutoConfig, AutoImageProcessor

        config = AutoConfig.from_pretrained(encoder.folder, **FOLDER_ONLY)
        # Pillow's processors, so that torchvision is not needed.
        process = AutoImageProcessor.from_pretrained(encoder.folder, backend="pil", **FOLDER_ONLY)
    # Of a model of images and texts (CLIP, SigLIP) the part that reads images.
    model, device = load_model(encoder, config=getattr(config, "vision_config", config))

    def encode(image: Image.Image) -> Vector:
        pixels = process(images=image, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            states = model(pixel_values=pixels.to(device)).last_hidden_state[0].float()
        # [tokens, width] of transformers, [width, rows, columns] of convolutional networks.
        return states.mean(dim=0 if states.ndim == 2 else (1, 2)).cpu().numpy()

    return encode
