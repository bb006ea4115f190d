"""AU-CAM and Grad-CAM against finite differences and planted patches; all synthetic."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.errors import UserError  # noqa: E402
from models.map_net import MapNet, MapOptions, MapOutput  # noqa: E402
from models.recognition.cam import Looked, au_cam, draw, grad_cam, overlay  # noqa: E402
from tests.models.recognition.map_toy import spot  # noqa: E402

SIDE = 64


class Seeing(nn.Module):
    """A network whose layer 4 is the picture itself, in blocks of 8 px.

    Red speaks for class 0 and green for class 1, twice in the eyes and three times in the
    mouth; blue speaks against both.
    """

    def forward(self, image: Tensor) -> MapOutput:
        halves = tuple(functional.avg_pool2d(half, 8) for half in image.chunk(2, 2))
        eyes, mouth = (half.mean((2, 3)) for half in halves)
        logits = (2 * eyes[:, :2] - eyes[:, 2:], 3 * mouth[:, :2] - mouth[:, 2:])
        return MapOutput(logits, (eyes, mouth), halves)


def peak(heat: np.ndarray) -> tuple[int, int]:
    """Block of 8 px, row and column, with the largest mean."""
    blocks = heat.reshape(heat.shape[0] // 8, 8, heat.shape[1] // 8, 8).mean(axis=(1, 3))
    row, column = np.unravel_index(blocks.argmax(), blocks.shape)
    return int(row), int(column)


def planted() -> Tensor:
    """Red at block (1, 6) of the eyes, green at (2, 1) of the mouth, which outweighs it."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[0, 0, 8:16, 48:56] = 0.5
    image[0, 1, 48:56, 8:16] = 1.0
    return image


def test_au_cam_finds_the_patch_of_each_region() -> None:
    heat = au_cam(Seeing(), planted())[0]  # type: ignore[arg-type]
    assert heat.shape == (SIDE, SIDE) and heat.dtype == np.float32
    assert peak(heat[:32]) == (1, 6)
    assert peak(heat[32:]) == (2, 1)
    assert heat.min() == 0 and 0.8 < heat.max() <= 1  # enlarging rounds the top off
    assert heat[:32].max() == heat[32:].max()  # each region by its own maximum
    assert heat[20:32].max() == 0 and heat[32:40].max() == 0


def test_grad_cam_explains_the_class_that_is_answered() -> None:
    heat = grad_cam(Seeing(), planted())[0]  # type: ignore[arg-type]
    assert peak(heat) == (4 + 2, 1)
    assert heat[:32].max() == 0  # red speaks for the other class
    other = planted()
    other[:, 0] *= 6
    heat = grad_cam(Seeing(), other)[0]  # type: ignore[arg-type]
    assert peak(heat) == (1, 6)
    assert heat[32:].max() == 0


def test_regions_that_explain_one_score_share_one_scale() -> None:
    image = planted()
    image[0, 1] = 0
    image[0, 0, 48:56, 24:32] = 0.1
    heat = grad_cam(Seeing(), image)[0]  # type: ignore[arg-type]
    assert heat[32:].max() / heat[:32].max() == pytest.approx(3 * 0.1 / (2 * 0.5), rel=1e-4)


def test_what_speaks_against_a_class_is_not_shown() -> None:
    image = planted()
    image[0, 2, 16:24, 0:8] = 1.0
    heat = grad_cam(Seeing(), image)[0]  # type: ignore[arg-type]
    assert heat[:32].max() == 0
    image[0, :2] = 0
    assert grad_cam(Seeing(), image).max() == 0  # type: ignore[arg-type]


def network(**options: object) -> MapNet:
    torch.manual_seed(3)
    return MapNet(3, MapOptions(width=0.125, **options)).double().eval()  # type: ignore[arg-type]


def by_differences(net: MapNet, image: Tensor, region: int, step: float = 1e-6) -> np.ndarray:
    """C_b of eq. 13, scaled to 1: alpha by nudging one channel after the other."""
    with torch.no_grad():
        activations = net(image).activations
        means = torch.cat([a.mean((2, 3)) for a in activations], 1)
        size = means.shape[1] // len(activations)
        part = slice(region * size, (region + 1) * size)
        start = net.fusion(means)[0, part].max()
        total = np.zeros(activations[region].shape[2:])
        for channel in range(size):
            nudged = means.clone()
            nudged[0, region * size + channel] += step
            alpha = float((net.fusion(nudged)[0, part].max() - start) / step)
            total += alpha * activations[region][0, channel].numpy()
    found = np.maximum(total, 0)
    return found / found.max()


@pytest.mark.parametrize("options", [{}, {"awm": False}, {"branches": "single"}])
def test_au_cam_is_eq_13(options: dict[str, object]) -> None:
    net = network(**options)
    side = 128
    image = torch.rand(1, 3, side, side, dtype=torch.float64)
    heat = torch.from_numpy(au_cam(net, image))
    regions = len(net.branches)
    for region, half in enumerate(heat.chunk(regions, 1)):
        wanted = torch.from_numpy(by_differences(net, image, region))[None, None]
        large = functional.interpolate(wanted, half.shape[1:], mode="bilinear")[0]
        np.testing.assert_allclose(half.numpy(), large.numpy(), atol=1e-4)


def test_samples_of_a_batch_do_not_mix() -> None:
    net = network()
    image = torch.rand(3, 3, SIDE, SIDE, dtype=torch.float64)
    for cam in (au_cam, grad_cam):
        together = cam(net, image)
        assert together.shape == (3, SIDE, SIDE)
        for row in range(3):
            np.testing.assert_allclose(together[row], cam(net, image[row : row + 1])[0], atol=1e-6)


def looked(caption: str = "synthetic sub01: AU1") -> Looked:
    face = np.full((80, 80), 128, np.uint8)
    heat = spot(SIDE, 0.25, 0.5).numpy().astype(np.float32)
    return Looked(caption, face, heat, 1 - heat)


def test_the_overlay_is_hot_where_the_map_is() -> None:
    row = looked()
    picture = overlay(row.face, row.au_cam)
    assert picture.shape == (80, 80, 3) and picture.dtype == np.uint8
    blue, _, red = picture[20, 40].astype(int)
    assert red > blue + 40
    blue, _, red = picture[75, 5].astype(int)
    assert blue > red + 40


def test_one_picture_holds_a_row_per_sample(tmp_path: Path) -> None:
    file = tmp_path / "new" / "cam.png"
    draw([looked(), looked("another")], file)
    picture = cv2.imread(str(file))
    assert picture.shape == (22 + 2 * (22 + 224), 3 * 224, 3)
    tiles = picture[44 : 44 + 224].reshape(224, 3, 224, 3)
    grey = tiles[:, 0]
    assert (grey == 128).all()
    assert (tiles[:, 1] != tiles[:, 2]).any()


def test_a_picture_that_cannot_be_written_is_the_user_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cam\.png"):
        draw([looked()], tmp_path / "file" / "cam.png")
