"""``mespot synth``: clips of random scenes with their truth; with ``--as`` a recognition set."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from models.errors import UserError
from pipeline import cli_synth_set
from pipeline.cli_synth_set import As, Frames

if TYPE_CHECKING:
    from models.synthesis import Scene, SyntheticFace
    from models.synthesis.arrays import Portrait

Level = Literal["easy", "medium", "hard", "mixed"]

TRUTH = "truth.json"
_CLOCK = 90_000  # ticks a second of the time stamps
_CRF = "18"
_FPS = (25.0, 200.0)
_LEAST_EYE_PX = 30.0
_SHORTEST_S, _LONGEST_S = 1.0, 3600.0
_OF_CLIPS = ("clips", "level", "duration", "fps", "portrait_", "empty")
_OF_SETS = ("subjects", "samples", "portraits", "frames", "workers")


def portrait(text: str) -> tuple[str, Portrait]:
    """Name, image and landmarks of a shipped portrait or an image file.

    Raises:
        UserError: neither, or no face is found.
    """
    from models.synthesis import load_portrait, portrait_names

    if text in portrait_names():
        return text, load_portrait(text)
    path = Path(text)
    if not path.is_file():
        names = ", ".join(portrait_names())
        raise UserError(f"--portrait {text}: no such file, and not one of {names}")
    import numpy as np

    from models.images import read

    image = read(path, colour=True)
    if image is None:
        raise UserError(f"--portrait {text}: not an image")
    from stages.landmarks import IBUG_68, FaceMeshLandmarker

    landmarker = FaceMeshLandmarker()
    try:
        faces = landmarker.detect(image, 0.0)
    finally:
        landmarker.close()
    if not faces:
        raise UserError(f"--portrait {text}: no face is found in it")
    points = faces[0][list(IBUG_68)].astype(np.float64)
    eyes = float(np.hypot(*(points[45] - points[36])))
    if eyes < _LEAST_EYE_PX:
        raise UserError(
            f"--portrait {text}: the face is too small: its outer eye corners are {eyes:.0f} px "
            f"apart, {_LEAST_EYE_PX:.0f} are needed"
        )
    return path.stem, (np.asarray(image, np.uint8), points)


def write_clip(face: SyntheticFace, path: Path) -> None:
    """``face`` as H.264 in ``path``: only what arrives, at its time stamps."""
    import av

    rate = Fraction(face.fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = face.scene.width, face.scene.height
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _CRF}
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        for arrived in face.schedule():
            frame = av.VideoFrame.from_ndarray(face.frame(arrived.shows), format="bgr24")
            frame.time_base = Fraction(1, _CLOCK)
            frame.pts = max(0, round(arrived.pts * _CLOCK))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def truth_entry(face: SyntheticFace, name: str, level: str) -> dict[str, Any]:
    """What a clip holds; frames count from 0 among those in the file."""
    from models.synthesis import delivered, truth_rows

    scene, arrived = face.scene, face.schedule()
    rows = truth_rows(delivered(face.truth(), arrived))
    for row, e in zip(rows, scene.expressions, strict=True):
        row["peak_px"] = round(row["peak_px"], 3)
        row |= {"onset_s": e.onset_s, "apex_s": e.apex_s, "offset_s": e.offset_s}
        row |= {"hold_s": e.hold_s, "balance": e.leaning}
        row["weights"] = list(e.weights) or [1.0] * len(e.aus)
    return {
        "synthetic": True,
        "fps": round(scene.fps, 6) if scene.fps % 1 else int(scene.fps),
        "frames": len(arrived),
        "width": scene.width,
        "height": scene.height,
        "identity": f"{name}-{scene.identity}" if scene.identity else name,
        "portrait": name,
        "level": level,
        "seed": scene.seed,
        "eye_px": scene.eye_px,
        "nominal_frames": scene.n_frames,
        "dropped": scene.n_frames - len(arrived),
        "duplicated": sum(a.index != a.shows for a in arrived),
        "events": rows,
        "blinks": [
            {"start_s": b.start_s, "end_s": b.start_s + b.duration_s, "depth": b.depth}
            for b in scene.blinks
        ],
        "gaze": [
            {"start_s": g.start_s, "end_s": g.start_s + g.duration_s, "dx": g.dx, "dy": g.dy}
            for g in scene.gaze
        ],
        "speech": [
            {"start_s": s.start_s, "end_s": s.start_s + s.duration_s, "peak_px": s.amplitude_px}
            for s in scene.speech
        ],
        "head_episodes": [
            {"start_s": h.start_s, "end_s": h.start_s + h.duration_s, "axis": h.axis}
            for h in scene.head.episodes
        ],
    }


def _checked(out: Path, clips: int, seed: int, duration: float, fps: float, empty: float) -> None:
    for wrong, text in (
        (clips < 1, f"--clips {clips}: at least 1"),
        (seed < 0, f"--seed {seed}: 0 or more"),
        (
            not _SHORTEST_S <= duration <= _LONGEST_S,
            f"--duration {duration:g}: {_SHORTEST_S:g} to {_LONGEST_S:g} seconds",
        ),
        (not _FPS[0] <= fps <= _FPS[1], f"--fps {fps:g}: {_FPS[0]:g} to {_FPS[1]:g}"),
        (not 0 <= empty <= 1, f"--empty {empty:g}: a share, 0 to 1"),
        (out.exists() and not out.is_dir(), f"--out {out}: not a folder"),
        ((out / TRUTH).exists(), f"--out {out}: already holds {TRUTH}; name another folder"),
    ):
        if wrong:
            raise UserError(text)


def _scene(
    seed: int, level: Level, k: int, duration: float, fps: float, empty: float
) -> tuple[str, Scene]:
    import numpy as np

    from models.synthesis import random_scene
    from models.synthesis.chance import Level as Drawn

    levels = get_args(Drawn)
    drawn: Drawn = levels[k % len(levels)] if level == "mixed" else level
    # clip k is the same whatever the number of clips
    own = int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
    bare = bool(np.random.default_rng([own, 9]).random() < empty)
    return drawn, random_scene(own, drawn, duration, fps, empty=bare)


def _only(context: typer.Context, names: tuple[str, ...], text: str) -> None:
    """Refuse options that were given but say nothing here."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise UserError(f"--{name.strip('_')}: {text}")


def register(app: typer.Typer) -> None:
    """Add ``synth`` to the commands."""

    @app.command()
    def synth(
        context: typer.Context,
        out: Annotated[Path, typer.Option(help="Folder for clips and truth.json, or the set.")],
        clips: Annotated[int, typer.Option(help="How many clips.")] = 4,
        seed: Annotated[int, typer.Option(help="The same seed, the same clips.")] = 0,
        level: Annotated[
            Level, typer.Option(help="How much disturbs; mixed: the three in turn.")
        ] = "medium",
        duration: Annotated[float, typer.Option(help="Seconds a clip.")] = 20.0,
        fps: Annotated[float, typer.Option(help="Frames a second, 25 to 200.")] = 30.0,
        portrait_: Annotated[
            str, typer.Option("--portrait", help="A shipped portrait or an image file.")
        ] = "astronaut",
        empty: Annotated[float, typer.Option(help="Share of clips without any expression.")] = 0.15,
        as_: Annotated[
            As | None,
            typer.Option("--as", help="A recognition set in this format instead of clips."),
        ] = None,
        subjects: Annotated[int, typer.Option(help="--as: how many identities.")] = 12,
        samples: Annotated[int, typer.Option(help="--as: expressions of each.")] = 16,
        portraits: Annotated[
            str, typer.Option(help="--as: shipped portraits that the identities are made of.")
        ] = "astronaut,biden,obama",
        frames: Annotated[
            Frames, typer.Option(help="--as: the frames that training needs, or all.")
        ] = "key",
        workers: Annotated[int, typer.Option(help="--as: processes.")] = 1,
    ) -> None:
        """Write synthetic clips with exact truth, or with --as a synthetic recognition set."""
        if as_ is not None:
            _only(context, _OF_CLIPS, "is about clips, not about --as")
            cli_synth_set.write(out, as_, subjects, samples, seed, portraits, frames, workers)
            return
        _only(context, _OF_SETS, "goes with --as")
        _checked(out, clips, seed, duration, fps, empty)
        from models.synthesis import SyntheticFace

        name, picture = portrait(portrait_)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {out}: {error.strerror}") from None
        truth = {}
        for k in range(clips):
            drawn, scene = _scene(seed, level, k, duration, fps, empty)
            face = SyntheticFace(scene, picture)
            file = f"clip_{k:03}.mp4"
            try:
                write_clip(face, out / file)
            except OSError as error:
                raise UserError(f"--out {out / file}: {error.strerror}") from None
            truth[file] = truth_entry(face, name, drawn)
            typer.echo(f"{out / file}: {drawn}, {len(scene.expressions)} expressions")
        text = json.dumps(truth, indent=1)
        (out / TRUTH).write_text(text + "\n", encoding="utf-8")
