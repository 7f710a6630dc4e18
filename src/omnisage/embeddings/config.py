"""Config of the `embeddings` stage."""

from typing import Annotated, Literal

from pydantic import Field

from omnisage.schema import ConfigModel

Dtype = Literal["f32", "f16", "int8"]
TokenDtype = Literal["f32", "bf16"]


class EmbeddingsConfig(ConfigModel):
    """How embeddings are written for others to read; our own stages read float32."""

    dtype: Annotated[
        Dtype,
        Field(
            description="of the vectors in the Parquet files: f32, f16 (half the size), or int8 (a quarter) with a "
            "column `scale`: embedding = scale * int8"
        ),
    ] = "f32"
    tokens: Annotated[
        TokenDtype,
        Field(
            description="of what each entity is to those whose neighbor it is, kept on disk while the stage runs on a "
            "CPU: f32, or bf16 (half the disk and memory, and embeddings that differ by less than a thousandth)"
        ),
    ] = "f32"
