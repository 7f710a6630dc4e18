"""Where stages run: engines change speed and place, never a result, so that changing one makes nothing stale."""

from typing import Annotated, Literal

from pydantic import Field

from omnisage.schema import ConfigModel


class DuckdbEngine(ConfigModel):
    """DuckDB in this process, on this machine."""

    kind: Literal["duckdb"] = "duckdb"


class SparkEngine(ConfigModel):
    """Apache Spark 4, by the extra `spark`; the driver is this process. A session that is already there is used."""

    kind: Literal["spark"]
    url: Annotated[
        str,
        Field(
            pattern=r"^(local(\[(\d+|\*)\])?|spark://.+|yarn|k8s://.+)$",
            description="master: local[2], spark://host:7077, yarn or k8s://https://host:443",
        ),
    ] = "local[*]"
    options: Annotated[
        dict[str, str], Field(description="settings of Spark, such as spark.executor.memory, for a session of its own")
    ] = {}


TablesEngine = Annotated[DuckdbEngine | SparkEngine, Field(discriminator="kind")]


class EngineConfig(ConfigModel):
    """By stage, what computes it."""

    tables: TablesEngine = DuckdbEngine()
