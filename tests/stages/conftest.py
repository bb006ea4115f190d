from __future__ import annotations

from collections.abc import Iterator

import pytest

from models.datasets import Dataset, load
from stages.landmarks import FaceMeshLandmarker
from tests import dataset_faces


@pytest.fixture(scope="module")
def landmarker() -> Iterator[FaceMeshLandmarker]:
    made = FaceMeshLandmarker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven annotations on three made faces, in CASME II's format."""
    return load("casme2", dataset_faces.casme2(tmp_path_factory.mktemp("casme2")))
