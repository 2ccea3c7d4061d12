"""Whatever is sent, /api/v1 answers as its own document says, and never with a bug."""

import pytest

schemathesis = pytest.importorskip("schemathesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance  # noqa: E402

from pleinair.serve.openapi import document  # noqa: E402
from serving import LIMITS, application  # noqa: E402

EXAMPLES = 8  # for each operation, of what the document allows and of what it does not
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
HOST = {"Host": "localhost"}
ALLOWED, OTHER = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OPERATIONS = [
    *((method, path, ALLOWED) for path, methods in document(LIMITS)["paths"].items() for method in methods),
    ("post", "/api/v1/jobs", OTHER),
    ("post", "/api/v1/tokens", OTHER),
]
bounded = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
)


@pytest.mark.parametrize("method, path, mode", OPERATIONS)
def test_the_interface_keeps_to_its_document(index, method, path, mode):
    app, _ = application(index)
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=HOST)

    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    @bounded
    def holds(case):
        case.call_and_validate(checks=CHECKS, headers=HOST)

    holds()
