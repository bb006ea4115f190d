"""Half a minute of the soak: real RTSP, faults, every event accounted for (synthetic)."""

from __future__ import annotations

import pytest

from bench.rtsp_server import missing
from bench.soak.run import measure
from models.errors import UserError

pytestmark = pytest.mark.alone


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(missing()), reason=missing() or "there is a server")
def test_half_a_minute_of_faults_loses_nothing() -> None:
    results = measure(hours=30 / 3600, faults_a_minute=30, seed=3)
    figures = {figure.key: figure for result in results for figure in result.figures}
    assert figures["soak.faults"].value >= 2
    assert figures["soak.not_survived"].value == 0
    for key, figure in figures.items():
        if key.endswith(("log_faults", "-0.faults", "-1.faults")):
            assert figure.value == 0, key


@pytest.mark.parametrize(("hours", "faults"), [(0.001, 9.0), (float("nan"), 9.0), (1.0, 0.0)])
def test_what_cannot_be_run_is_one_line(hours: float, faults: float) -> None:
    with pytest.raises(UserError, match="from"):
        measure(hours, faults)
