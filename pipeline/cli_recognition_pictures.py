"""``mespot recognition-pictures``: what a trained MAP network looks at (docs/recognition.md)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from models.errors import UserError

if TYPE_CHECKING:
    from models.map_net import MapNet
    from models.recognition.cam import Looked
    from models.recognition.final import Run
    from models.recognition.samples import Samples


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("recognition-pictures")(recognition_pictures)


def recognition_pictures(
    run: Annotated[Path, typer.Argument(help="Folder of a finished mespot train of map.")],
    out: Annotated[Path, typer.Option(help="Folder for cam.png and features.png.")],
    faces: Annotated[int, typer.Option(help="Faces in cam.png.", min=1, max=40)] = 10,
) -> None:
    """AU-CAM beside Grad-CAM over faces, and the AU features by t-SNE (MAP, Figures 5 and 6).

    The faces are of the subjects who chose the epoch, whom the network was not trained on.
    """
    from pipeline.recognition import use_torch

    use_torch("cpu", 0)
    from models.map_net import MapNet
    from models.recognition import cam, features, final

    done, _, network, _ = final.load(run)
    if not isinstance(network, MapNet):
        raise UserError(f"{run}: a run of {done.plan.network}; AU-CAM is of map")
    samples = _samples(run, done.files)
    cam.draw(_looked(network, samples, _chosen(samples, done, faces)), out / "cam.png")
    planes = {name: values[:, 0] for name, values in samples.inputs.items()}
    points = features.flattened(features.features(network, planes), done.seed)
    title = f"AU features (t-SNE); {done.training}"
    features.draw(points, samples.aus, title, out / "features.png")
    typer.echo(f"{out / 'cam.png'}, {out / 'features.png'}: {done.training}")


def _samples(run: Path, files: list[str]) -> Samples:
    from models.recognition import samples as stored

    if not files:
        raise UserError(f"{run}: names no samples; run mespot train again")
    return stored.joined([stored.load(run / file) for file in files])


def _chosen(samples: Samples, done: Run, most: int) -> list[int]:
    """Samples of the validating subjects, classes and subjects in turn."""
    rows = [i for i, name in enumerate(samples.subjects) if name in set(done.validation_subjects)]
    seen: Counter[tuple[int, str]] = Counter()
    order = []
    for row in rows:
        kind = int(samples.labels[row]), samples.subjects[row]
        order.append((seen[kind], *kind, row))
        seen[kind] += 1
    return [row for *_, row in sorted(order)][:most]


def _looked(network: MapNet, samples: Samples, rows: list[int]) -> list[Looked]:
    import torch

    from models.map_net import PLANES
    from models.recognition import cam

    planes = [torch.from_numpy(samples.inputs[name][rows, 0]) for name in PLANES]
    image = network.scaled(*planes)
    both = cam.au_cam(network, image), cam.grad_cam(network, image)
    with torch.inference_mode():
        said = network(image).probabilities.argmax(1).tolist()
    made = []
    for i, row in enumerate(rows):
        truth, answer = samples.classes[samples.labels[row]], samples.classes[said[i]]
        aus = "+".join(map(str, sorted(samples.aus[row])))
        caption = f"{samples.names[row]}: AU{aus}, {truth}; told {answer}"
        face = np.clip(planes[0][i, 0].numpy(), 0, 255).astype(np.uint8)
        made.append(cam.Looked(caption, face, both[0][i], both[1][i]))
    return made
