"""Answers as Arrow IPC streams, which browsers and data frames read without parsing numbers."""

import pyarrow as pa
from starlette.responses import Response

ARROW = "application/vnd.apache.arrow.stream"


def arrow_response(table: pa.Table) -> Response:
    """A table as one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)


def accepts_arrow(accept: str) -> bool:
    """Whether a client that sends this `Accept` header wants Arrow."""
    return any(part.split(";")[0].strip().lower() == ARROW for part in accept.split(","))
