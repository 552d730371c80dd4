from __future__ import annotations

import pytest

from tests.unit.shippers.gateway import FakeGateway


@pytest.fixture
def gateway():
    fake = FakeGateway()
    yield fake
    fake.close()
