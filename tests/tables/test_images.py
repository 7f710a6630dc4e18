"""The built-in encoder of images, against slow and obvious twins."""

import math

import numpy as np
import pytest
from image_making import pixels, to_file
from PIL import Image

from omnisage.tables.images import UnreadableImageError, decode, statistics


def cosine_transform(values: np.ndarray, n: int) -> np.ndarray:
    """The first n x n coefficients of the orthonormal DCT-II, from its definition."""
    size = len(values)
    waves = [[math.cos(math.pi * (2 * x + 1) * k / (2 * size)) for x in range(size)] for k in range(n)]
    basis = np.array(waves) * [[1 if k == 0 else math.sqrt(2)] for k in range(n)]
    return basis @ values @ basis.T / size


def outline(light: np.ndarray) -> list[float]:
    """Gradients' strength by cell of 16 pixels and direction, pixel by pixel."""
    strengths = [0.0] * (16 * 8)
    for y in range(64):
        for x in range(64):
            ys, xs = (max(y - 1, 0), min(y + 1, 63)), (max(x - 1, 0), min(x + 1, 63))
            down = (light[ys[1], x] - light[ys[0], x]) / (ys[1] - ys[0])
            right = (light[y, xs[1]] - light[y, xs[0]]) / (xs[1] - xs[0])
            angle = math.degrees(math.atan2(down, right)) % 180
            direction = min(range(9), key=lambda i: abs(angle - 22.5 * i)) % 8
            strengths[((y // 16) * 4 + x // 16) * 8 + direction] += math.hypot(down, right)
    return [math.sqrt(strength) for strength in strengths]


def unit(values: object) -> np.ndarray:
    flat = np.asarray(values, np.float64).ravel()
    return flat / np.linalg.norm(flat)


def test_statistics_are_layout_colors_outline_and_shape() -> None:
    picture = pixels(3, 64, 64)  # of the size that the encoder sees, so that nothing is resized
    found = statistics(Image.fromarray(picture))
    assert (found.shape, found.dtype) == ((289,), np.float32)
    levels = np.asarray(Image.fromarray(picture).convert("YCbCr"), np.float64) / 255 - 0.5
    layout = np.concatenate([cosine_transform(levels[..., c], n).ravel() for c, n in enumerate((8, 4, 4))])
    np.testing.assert_allclose(found[:96], unit(layout), atol=1e-5)
    colors = np.zeros(64)
    for red, green, blue in picture.reshape(-1, 3) // 64:
        colors[16 * int(red) + 4 * int(green) + int(blue)] += 1
    np.testing.assert_allclose(found[96:160], unit(np.sqrt(colors)), atol=1e-6)
    np.testing.assert_allclose(found[160:288], unit(outline(levels[..., 0])), atol=1e-4)
    assert found[288] == 0


def test_an_image_of_one_color_and_one_pixel_has_finite_statistics() -> None:
    for size, aspect in (((1, 1), 0.0), ((300, 3), math.log(100))):
        found = statistics(Image.new("RGB", size, (0, 0, 0)))
        assert np.isfinite(found).all()
        assert found[-1] == pytest.approx(aspect)


def test_alike_images_have_nearer_statistics_than_others() -> None:
    vectors = np.stack([statistics(Image.fromarray(pixels(seed, 90, 60))) for seed in range(8)])
    smaller = np.stack([statistics(Image.fromarray(pixels(seed, 90, 60)).resize((45, 70))) for seed in range(8)])
    distances = np.linalg.norm(vectors[:, None] - smaller[None], axis=2)
    assert distances.argmin(axis=1).tolist() == list(range(8))


def test_images_of_every_mode_become_upright_rgb() -> None:
    gray = Image.fromarray(pixels(1)).convert("L")
    for image in (gray, gray.convert("P"), gray.convert("1"), gray.convert("CMYK"), gray.convert("I")):
        assert decode(to_file(image, "TIFF")).mode == "RGB"
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert decode(to_file(clear)).getpixel((0, 0)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    assert decode(to_file(pixels(1, 40, 30), "JPEG", exif=exif)).size == (40, 30)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no image of a known format"),
        (b"<html>not found</html>", "no image of a known format"),
        (to_file(pixels(1))[:200], "."),
        (to_file(pixels(1, 200, 200), "JPEG")[:900], "truncated"),
    ],
)
def test_damaged_bytes_are_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(content)
