"""What the generator is made of: images, points, and the folder of shipped data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parent.parent / "data"
Image = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Portrait = tuple[Image, Points]
