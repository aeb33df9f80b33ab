"""Fixtures of the particle tests."""

import pytest
from particle_cases import two_stages


@pytest.fixture
def process():
    """Two stages that do not commute."""
    return two_stages()
