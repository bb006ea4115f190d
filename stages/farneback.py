"""Farnebäck's optical flow in Numba, equal to OpenCV's (eqs 1-7 of He et al., ECAI 2023).

Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003.
Each pixel's neighbourhood is expanded in a polynomial; the change of its
coefficients from one image to the other gives the displacement, averaged over a
window and refined from coarse to fine. An image costs two calls without the GIL: its
expansion (``farneback_expand``) and the flow to it (``farneback_refine``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.farneback_expand import Expander
from stages.farneback_layout import Expansion, Floats, Layout, Window
from stages.farneback_refine import LEAST_SIZE, Refiner


@dataclass(frozen=True)
class FarnebackParams:
    """Parameters as in ``cv2.calcOpticalFlowFarneback``.

    ``levels`` counts the layers above the base; ``poly_n`` is a radius;
    ``gaussian`` weighs the window by a Gaussian instead of a box. No layer is
    smaller than ``least_size`` px; OpenCV's limit is 32.
    """

    pyr_scale: float = 0.5
    levels: int = 3
    winsize: int = 15
    iterations: int = 3
    poly_n: int = 5
    poly_sigma: float = 1.2
    gaussian: bool = False
    least_size: int = 32


def layers(size: tuple[int, int], params: FarnebackParams) -> list[tuple[float, int, int]]:
    """(scale, width, height) of each layer, base first, for an image of ``size`` (w, h)."""
    made = [(1.0, size[0], size[1])]
    scale = 1.0
    for _ in range(params.levels):
        scale *= params.pyr_scale
        if min(size) * scale < params.least_size:
            break
        made.append((scale, round(size[0] * scale), round(size[1] * scale)))
    return made


class _Newest:
    """The expansions of the image that came last."""

    def __init__(self, expand: Expander) -> None:
        self.expand = expand
        self.shared = False
        self._expansions = expand.blank()
        self._image: npt.NDArray[np.generic] | None = None

    def __call__(self, image: npt.NDArray[np.generic]) -> tuple[Floats, ...]:
        if not (self.shared and image is self._image):
            self.expand(image, self._expansions)
            self._image = image
        return self._expansions


class Farneback:
    """Flow of many images against one reference; all buffers are made once.

    Args:
        size: (w, h) of the images.
        params: see ``FarnebackParams``.
        scale: the flow is multiplied by this.
        halve: images come at twice ``size``, uint8, and are averaged over 2 x 2 px first.
        beside: another engine of the same arguments, for other references and the same images:
            an array that either has just seen, and that nobody writes to, is expanded once.
    """

    def __init__(
        self,
        size: tuple[int, int],
        params: FarnebackParams,
        scale: float = 1.0,
        halve: bool = False,
        beside: Farneback | None = None,
    ) -> None:
        if min(size) < LEAST_SIZE:
            raise ValueError(f"images of {size} px are too small for Farnebäck flow")
        made = layers(size, params)
        sizes, scales = [(w, h) for _, w, h in made], [share for share, _, _ in made]
        expansion = Expansion(params.poly_n, params.poly_sigma)
        window = Window(params.winsize // 2, params.gaussian)
        layout = Layout.of(size[0], expansion, window)
        if beside is None:
            self._newest = _Newest(Expander(sizes, scales, layout, expansion, halve))
        else:
            self._newest = beside._newest
            self._newest.shared = True
        self._refine = Refiner(sizes, params.pyr_scale, layout, window, params.iterations, scale)
        self._reference = self._newest.expand.blank()

    def set_reference(self, image: npt.NDArray[np.generic]) -> None:
        """Expand the reference: (h, w), uint8 or float32."""
        self._newest.expand(image, self._reference)

    def flow(self, image: npt.NDArray[np.generic]) -> Floats:
        """Flow to ``image``, (h, w, 2) px times ``scale``; valid until the next call."""
        self._refine(self._reference, self._newest(image))
        return self._refine.flow


def farneback(
    reference: npt.NDArray[np.generic],
    image: npt.NDArray[np.generic],
    params: FarnebackParams | None = None,
) -> Floats:
    """Flow from ``reference`` to ``image``, as ``cv2.calcOpticalFlowFarneback`` gives it.

    Args:
        reference, image: (h, w), uint8 or float32, of one size.
        params: default: OpenCV's customary (0.5, 3, 15, 3, 5, 1.2).

    Returns:
        (h, w, 2) float32, px, x right, y down.

    Raises:
        ValueError: shapes or types do not fit.
    """
    check(reference)
    check(image, reference.shape)
    height, width = reference.shape
    engine = Farneback((width, height), params or FarnebackParams())
    engine.set_reference(reference)
    return engine.flow(image)


def check(image: npt.NDArray[np.generic], shape: tuple[int, ...] | None = None) -> None:
    """Refuse what is no grey image of ``shape``."""
    if image.ndim != 2:
        raise ValueError(f"flow needs a grey image (h, w), not an array of shape {image.shape}")
    if image.dtype not in (np.uint8, np.float32):
        raise ValueError(f"flow needs uint8 or float32, not {image.dtype}")
    if shape is not None and image.shape != shape:
        raise ValueError(f"flow needs an image of shape {shape}, not {image.shape}")
