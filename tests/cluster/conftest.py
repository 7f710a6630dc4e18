"""One Ray session, and one object store on loopback, for all tests of the package."""

import os
from collections.abc import Iterator

import pytest

from omnisage.engine import RayEngine

BUCKET = "omnisage"


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The URL of a bucket of an S3-compatible server on loopback, which the environment leads to."""
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        import s3fs

        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}/some/prefix"
    server.stop()


@pytest.fixture(scope="session")
def ray_session(bucket: str) -> Iterator[None]:
    """Ray with two workers, whose environment leads to the object store."""
    pytest.importorskip("ray")
    from omnisage.cluster.ray_tasks import session

    with pytest.MonkeyPatch.context() as environment:
        paths = [os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]
        environment.setenv("PYTHONPATH", os.pathsep.join(paths))  # workers import recipes of tests
        with session(RayEngine(kind="ray", num_workers=2), 2):
            yield
