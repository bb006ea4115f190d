"""The newest figures of a run, in bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.samples import Samples


@given(st.lists(st.lists(st.integers(-1000, 1000))), st.integers(1, 20))
def test_the_newest_are_kept_in_order(batches: list[list[int]], most: int) -> None:
    samples = Samples(most)
    for batch in batches:
        samples.extend(batch)
    everything = [value for batch in batches for value in batch]
    assert list(samples) == everything[-most:]
    assert len(samples) == min(most, len(everything))


def test_percentiles_take_them() -> None:
    samples = Samples(100)
    samples.extend(range(1, 102))
    assert np.percentile(list(samples), 50) == 51.5
