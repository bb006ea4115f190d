"""Farnebäck's optical flow in Numba, equal to OpenCV's (eqs 1-7 of He et al., ECAI 2023).

Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003.
Each pixel's neighbourhood is expanded in a polynomial; the change of its
coefficients from one image to the other gives the displacement, averaged over a
window and refined from coarse to fine. Pyramid images are blurred and resized by
OpenCV; expansion, update and solution are ours (``farneback_kernels``), without the GIL.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stages.farneback_kernels import PLANES, SLACK, Expansion, Kernels, Window, interleave, kernels

Floats = npt.NDArray[np.float32]
_BORDER = np.array([0.14, 0.14, 0.4472, 0.4472, 0.4472], np.float32)


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


class Layer:
    """Buffers of one pyramid layer, in the layout of ``farneback_kernels``."""

    def __init__(
        self, scale: float, size: tuple[int, int], made: Kernels, params: FarnebackParams
    ) -> None:
        width, height = size
        n, iterations = params.poly_n, params.iterations
        self.scale = scale
        self.size = size
        self._kernels, self._n = made, n
        stride, pad = made.stride, made.pad
        self.reference = _zeros((height + 2) * PLANES * stride)
        self.expansion = _zeros((height + 2) * PLANES * stride)
        self._flow = _zeros(height * 2 * stride)
        rows = self._flow[:-SLACK].reshape(height, 2, stride)
        self.flow = rows[:, :, pad : pad + width]  # (h, 2, w)
        self._padded = np.zeros((height + 2 * n, stride), np.float32)
        self.image = self._padded[n : n + height, pad : pad + width]
        self._rows = _zeros(3 * stride)
        self._damping = _zeros(stride)
        self._damping[pad : pad + width] = _damping(width)
        equations, totals = _zeros(made.ring * PLANES * stride), np.zeros(PLANES * stride)
        self._scratch = equations, totals, _zeros(6 * stride), _zeros(PLANES * stride)
        self._iterations = iterations
        self._along = _damping(height)

    def expand_into(self, out: Floats) -> None:
        """Expand ``image``, which the caller has filled, into ``out``."""
        width, height = self.size
        self._padded[: self._n] = self._padded[self._n]
        self._padded[self._n + height :] = self._padded[self._n + height - 1]
        self._kernels.expand(self._padded.reshape(-1), self._rows, out, height, width)

    def refine(self) -> None:
        """Iterate ``flow`` in place."""
        width, height = self.size
        fields = self.reference, self.expansion, self._flow
        weights = self._damping, self._along
        self._kernels.refine(*fields, *weights, height, width, self._iterations, *self._scratch)

    def start_from(self, coarse: Layer, pyr_scale: float) -> None:
        """Take the coarser layer's flow as the beginning."""
        coarse.flow *= np.float32(1 / pyr_scale)
        for plane in (0, 1):
            cv2.resize(
                coarse.flow[:, plane],
                self.size,
                dst=self.flow[:, plane],
                interpolation=cv2.INTER_LINEAR,
            )


def _zeros(length: int) -> Floats:
    return np.zeros(length + SLACK, np.float32)


def _damping(size: int) -> Floats:
    """(size,) weight of each row or column: little near the border."""
    weights = np.ones(size, np.float32)
    weights[: len(_BORDER)] *= _BORDER
    weights[-len(_BORDER) :] *= _BORDER[::-1]
    return weights


class Farneback:
    """Flow of many images against one reference; all buffers are made once.

    Args:
        size: (w, h) of the images.
        params: see ``FarnebackParams``.
        scale: the flow is multiplied by this, for images that were made smaller.
    """

    def __init__(self, size: tuple[int, int], params: FarnebackParams, scale: float = 1.0) -> None:
        if min(size) < 2 * len(_BORDER):
            raise ValueError(f"images of {size} px are too small for Farnebäck flow")
        self._params = params
        self._scale = np.float32(scale)
        made = kernels(
            size[0],
            Expansion(params.poly_n, params.poly_sigma),
            Window(params.winsize // 2, params.gaussian),
        )
        self._layers = [Layer(s, (w, h), made, params) for s, w, h in layers(size, params)]
        self._image = np.empty(size[::-1], np.float32)
        self._blurred = np.empty(size[::-1], np.float32)
        self._flow = np.empty((*size[::-1], 2), np.float32)

    def set_reference(self, image: npt.NDArray[np.generic]) -> None:
        """Expand the reference: (h, w), uint8 or float32."""
        np.copyto(self._image, image)
        for layer in self._layers:
            self._show(layer)
            layer.expand_into(layer.reference)

    def flow(self, image: npt.NDArray[np.generic]) -> Floats:
        """Flow to ``image``, (h, w, 2) px times ``scale``; valid until the next call."""
        np.copyto(self._image, image)
        coarse: Layer | None = None
        for layer in reversed(self._layers):
            self._show(layer)
            layer.expand_into(layer.expansion)
            if coarse is None:
                layer.flow[...] = 0
            else:
                layer.start_from(coarse, self._params.pyr_scale)
            layer.refine()
            coarse = layer
        assert coarse is not None
        interleave(coarse.flow, self._scale, self._flow)
        return self._flow

    def _show(self, layer: Layer) -> None:
        """Blur and resize the image to this layer."""
        sigma = (1 / layer.scale - 1) * 0.5
        size = max(round(sigma * 5) | 1, 3)
        whole = layer.size == self._image.shape[::-1]
        blurred = layer.image if whole else self._blurred
        cv2.GaussianBlur(self._image, (size, size), sigma, dst=blurred, sigmaY=sigma)
        if not whole:
            cv2.resize(blurred, layer.size, dst=layer.image, interpolation=cv2.INTER_LINEAR)


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
