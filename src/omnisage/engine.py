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


class ThreadsEngine(ConfigModel):
    """Threads of this process, as many as `num_threads`."""

    kind: Literal["threads"] = "threads"


class RayEngine(ConfigModel):
    """Ranges of entities as tasks of Ray, by the extra `cluster`; docs/ray.md."""

    kind: Literal["ray"]
    address: Annotated[
        str | None,
        Field(description="of a running cluster, such as auto or 10.0.0.1:6379; none: Ray is started on this machine"),
    ] = None
    num_workers: Annotated[
        int, Field(ge=0, description="tasks at a time without address; 0: num_threads / threads_per_task")
    ] = 0
    threads_per_task: Annotated[
        int, Field(gt=0, description="CPUs of a task; all of a host: then the graph is in its memory once")
    ] = 1
    storage: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]+://.+$",
            description="where hosts exchange files, such as s3://bucket/prefix; none: all see this workspace",
        ),
    ] = None
    cache: Annotated[
        str | None,
        Field(description="with storage: folder on each host for what it reads; none: in that for temporary files"),
    ] = None


THREADS = ThreadsEngine()
RangesEngine = Annotated[ThreadsEngine | RayEngine, Field(discriminator="kind")]


class EngineConfig(ConfigModel):
    """By stage, what computes it."""

    tables: TablesEngine = DuckdbEngine()
    neighbors: RangesEngine = THREADS
    embeddings: RangesEngine = THREADS
