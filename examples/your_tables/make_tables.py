"""Write the two tables of this example: a small shop, with products and what people clicked.

Run it, then replace the tables by your own: `python examples/your_tables/make_tables.py`
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLORS = ("red", "blue", "green", "black")
KINDS = ("shoe", "shirt", "lamp", "chair", "mug")
NUM_PRODUCTS = 200
NUM_USERS = 150
CLICKS_PER_USER = 20
FIRST_CLICK = 1_767_225_600  # 2026-01-01, Unix seconds


def main() -> None:
    """Every user likes one kind of product, and one color a little."""
    random = np.random.default_rng(0)
    kind = random.integers(len(KINDS), size=NUM_PRODUCTS)
    color = random.integers(len(COLORS), size=NUM_PRODUCTS)
    products = pa.table(
        {
            "sku": [f"P{i:03d}" for i in range(NUM_PRODUCTS)],
            "title": [f"{COLORS[c]} {KINDS[k]} {i}" for i, (c, k) in enumerate(zip(color, kind, strict=True))],
            "price": random.gamma(4.0, 10.0, NUM_PRODUCTS).round(2),
        }
    )
    skus: list[str] = []
    for _ in range(NUM_USERS):
        liking = 8.0 * (kind == random.integers(len(KINDS))) + 2.0 * (color == random.integers(len(COLORS))) + 0.2
        clicked = random.choice(NUM_PRODUCTS, size=CLICKS_PER_USER, replace=False, p=liking / liking.sum())
        skus += [f"P{product:03d}" for product in clicked]
    clicks = pa.table(
        {
            "visitor": np.repeat(np.arange(NUM_USERS), CLICKS_PER_USER),
            "sku": skus,
            "at": FIRST_CLICK + random.integers(0, 60 * 86400, size=len(skus)),
        }
    )
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    pq.write_table(products, folder / "products.parquet")
    pq.write_table(clicks, folder / "clicks.parquet")
    print(f"wrote {products.num_rows} products and {clicks.num_rows} clicks to {folder}")


if __name__ == "__main__":
    main()
