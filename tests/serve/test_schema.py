"""Requests drawn from `/openapi.json`, good ones and bad ones: no answer breaks what the schema promises."""

from typing import Any

import httpx2 as httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

BOUNDED = settings(
    max_examples=12,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
OPERATIONS = [
    "GET /v1/info",
    "GET /v1/search",
    "GET /v1/users",
    "GET /v1/entity",
    "GET /v1/image",
    "POST /v1/similar",
    "POST /v1/recommend",
    "POST /v1/embed",
    "POST /v1/embeddings",
    "POST /v1/explain",
    "GET /v1/map",
    "GET /v1/health-report",
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "POST /v1/reload",
]
REAL = {"type": "item", "to": "tag", "sequence": "user", "user": "user 3", "id": 1000, "ids": [1001, "1002"], "k": 3}


@pytest.fixture(scope="module")
def operations(client: httpx.Client) -> dict[str, Any]:
    api = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    found = [result.ok() for result in api.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_every_operation_is_drawn_from(operations: dict[str, Any]) -> None:
    assert set(OPERATIONS) == set(operations)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_keep_to_the_schema(operations: dict[str, Any], label: str, mode: GenerationMode) -> None:
    # That one of two query parameters must be given cannot be said in OpenAPI.
    excluded = [positive_data_acceptance] if label == "GET /v1/entity" else []
    drawn = operations[label].as_strategy(generation_mode=mode)

    @seed(0)
    @BOUNDED
    @given(drawn)
    def check(case: schemathesis.Case) -> None:
        case.validate_response(case.call(), excluded_checks=excluded)

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing can be wrong with a request that has no parameter"


@pytest.mark.parametrize("label", [label for label in OPERATIONS if label.startswith("POST /v1/")][:-1])
def test_requests_about_what_there_is_keep_to_it(operations: dict[str, Any], label: str) -> None:
    """The same with real types and ids, which no draw would hit; the rest of the request is drawn."""

    @seed(0)
    @BOUNDED
    @given(operations[label].as_strategy(generation_mode=GenerationMode.POSITIVE), st.data())
    def check(case: schemathesis.Case, data: st.DataObject) -> None:
        assert isinstance(case.body, dict)
        kept = data.draw(st.sets(st.sampled_from(sorted(REAL)), max_size=1))
        for name, value in REAL.items():
            if name in case.body and name not in kept:
                is_reference = isinstance(case.body[name], dict)
                case.body[name] = {"type": "tag", "id": "oak 3"} if is_reference else value
        case.validate_response(case.call(), excluded_checks=[positive_data_acceptance])

    check()
