"""Open files: how many connections fit, and that files are left for everything else."""

from __future__ import annotations

import resource

import msgspec
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.node.files import RESERVED, fitting
from protocol.server.settings import WireSettings


@given(st.integers(1, 50_000), st.integers(0, 1_000), st.integers(16, 100_000))
def test_what_clients_take_leaves_the_reserve(most: int, spare: int, files: int) -> None:
    asked = WireSettings(max_connections=most, spare_handshakes=spare)
    with structlog.testing.capture_logs() as logs:
        got = fitting(asked, files)
    taken = got.max_connections + got.spare_handshakes
    assert got.max_connections >= 1
    assert files - taken >= min(RESERVED, files // 2)
    assert bool(logs) == (got.max_connections < most)
    if most + spare + RESERVED <= files:
        assert got == asked
    elif logs:
        assert got.spare_handshakes > 0 or spare == 0 or taken < 8, "somebody must say no"
    changed = msgspec.structs.replace(got, max_connections=most, spare_handshakes=spare)
    assert changed == asked


def test_without_a_limit_everything_fits() -> None:
    asked = WireSettings(max_connections=10**9)
    assert fitting(asked, resource.RLIM_INFINITY) == asked
