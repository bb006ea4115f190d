"""The one typed configuration, filled from options, environment and TOML.

Precedence: command line, then ``MESPOT_…`` variables (sections with a double
underscore: ``MESPOT_SPOT__SEARCH_S``), then the TOML file, then the defaults.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import models
from models.errors import UserError

SHIPPED = Path(models.__file__).parent / "data" / "recognisers"


class ConfigError(UserError):
    """The configuration is wrong; the message names the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CaptureConfig(_Section):
    """Opening and reading the source."""

    open_timeout_s: float = Field(10.0, gt=0, description="RTSP: seconds to wait for the camera")
    read_timeout_s: float = Field(5.0, gt=0, description="live: seconds to wait for a frame")
    name: str = Field("", pattern=r"^[A-Za-z0-9_-]*$", description="stream name; default by source")


class FaceConfig(_Section):
    """Landmarks and crops."""

    task: Path | None = Field(None, description="a MediaPipe FaceLandmarker .task file")
    lost_after_s: float = Field(0.25, ge=0, description="a face unseen for longer is lost")
    remembered_s: float = Field(  # at most what stages.spot remembers of a face
        2.0, ge=0, le=60, description="a face back within this time keeps its number"
    )
    landmarks_s: float = Field(
        0.016, ge=0, le=0.05, description="mespot: seconds between landmarks; 0: every frame"
    )


class MotionConfig(_Section):
    """Flow and matching."""

    flow: Literal["exact", "fast"] = Field("fast", description="Farnebäck preset")
    window_s: float = Field(7.0, gt=0, description="window length, seconds")
    max_gap_s: float = Field(0.5, gt=0, description="a longer gap in source time ends the window")
    prototypes: Path | None = Field(None, description="prototype file; default: the shipped set")


class SpotConfig(_Section):
    """Spotting; both methods unless said otherwise."""

    search_s: float = Field(1.0, gt=0, description="m of eq. 24, seconds")
    micro_s: float = Field(0.5, gt=0, description="shorter expressions are micro")
    threshold_scale: float = Field(1.0, gt=0, description="multiplies every theta")
    explained: float = Field(
        0.42, ge=0, lt=1, description="mespot: share of the movement that its AUs must explain"
    )
    calibrate_s: float = Field(
        0.0, ge=0, description="mespot: learn the face for so long before anything is spotted"
    )
    overlap: float = Field(0.33, ge=0, lt=1, description="paper: delta of eq. 25")
    smooth_s: float = Field(0.1, ge=0, description="paper: half width of the low-pass, seconds")
    border: float | None = Field(
        None, gt=0, lt=1, description="paper: widen intervals to this share of the peak"
    )


class ClassifyConfig(_Section):
    """Recognisers at work."""

    deadline_s: float = Field(
        0.15, gt=0, description="an event waits so long for its scores; later they are an update"
    )
    batch: int = Field(16, ge=1, le=256, description="most events in one inference (CPU: 2)")
    threads: int = Field(2, ge=1, le=64, description="CPU threads of one inference")
    tensorrt: bool = Field(False, description="run on TensorRT, or fail")
    magnifier: Path | None = Field(
        None, description="ONNX motion magnifier; default: the built-in one"
    )


class PublishConfig(_Section):
    """What goes out."""

    curves: bool = Field(False, description="publish matching curves on curves.<stream>")
    high_water_mark: int = Field(10_000, ge=1, description="messages held for a slow subscriber")


class GraphConfig(_Section):
    """Queues and supervision."""

    queue: int = Field(8, ge=1, le=1000, description="items held between two nodes")
    deaths: int = Field(3, ge=1, description="deaths of nodes within a minute that end the run")
    heartbeat_s: float = Field(0.5, gt=0, description="seconds between reports of a node")
    silence_s: float = Field(60.0, gt=0, description="a process silent for longer is taken as dead")


def _toml_data(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


class Config(BaseSettings):
    """Everything that a run needs."""

    model_config = SettingsConfigDict(
        env_prefix="MESPOT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    source: str = Field("synthetic:", min_length=1, description="camera, video, folder, synthetic:")
    fps: float | Literal["source", "max"] = Field("source", description="replay rate")
    events: str = Field("tcp://127.0.0.1:5556", description="event socket; port * takes a free one")
    out: Path | None = Field(None, description="JSON Lines file for the events")
    duration: float | None = Field(None, gt=0, description="seconds to run")
    model: list[Path] | None = Field(
        None, description="ONNX recognisers; default: the shipped ones; []: the coding guide alone"
    )
    require_gpu: bool = Field(False, description="fail when a recogniser cannot use the GPU")
    transport: Literal["inproc", "ipc", "tcp"] = Field(
        "inproc", description="threads (inproc) or processes (ipc, tcp)"
    )
    faces: int = Field(1, ge=1, le=16, description="faces followed per camera")
    method: Literal["mespot", "paper"] = Field(
        "mespot", description="joint explanation, or the paper's own rules on its own crops"
    )
    capture: CaptureConfig = CaptureConfig()  # type: ignore[call-arg]
    face: FaceConfig = FaceConfig()  # type: ignore[call-arg]
    motion: MotionConfig = MotionConfig()  # type: ignore[call-arg]
    spot: SpotConfig = SpotConfig()  # type: ignore[call-arg]
    classify: ClassifyConfig = ClassifyConfig()  # type: ignore[call-arg]
    publish: PublishConfig = PublishConfig()  # type: ignore[call-arg]
    graph: GraphConfig = GraphConfig()  # type: ignore[call-arg]

    @field_validator("fps", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> float | str:
        if value in ("source", "max"):
            return str(value)
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = 0.0
        if not 0 < rate <= 10_000:
            raise ValueError("must be a number above 0 and up to 10000, 'source' or 'max'")
        return rate

    @field_validator("model", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        files = [value] if isinstance(value, str | Path) else value
        known = files is None or isinstance(files, list)
        if not known or not all(isinstance(file, str | Path) for file in files or []):
            raise ValueError("must be a file or a list of files")
        return files

    @model_validator(mode="after")
    def _gpu_for_something(self) -> Config:
        if self.require_gpu and not self.models:
            raise ValueError("require_gpu: asks for a recogniser on the GPU, but no model is given")
        return self

    @property
    def models(self) -> list[Path]:
        """The recognisers that run: those asked for, else the shipped ones."""
        return sorted(SHIPPED.glob("*.onnx")) if self.model is None else self.model

    @field_validator("events")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("tcp://", "ipc://")):
            raise ValueError("must begin with tcp:// or ipc://")
        if value.startswith("tcp://"):
            port = value.rpartition(":")[2]
            if port != "*" and not (port.isdigit() and 0 < int(port) < 65536):
                raise ValueError("needs a port from 1 to 65535, or * for a free one")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Options before environment; TOML is merged below both by ``load``."""
        return init_settings, env_settings


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _environment() -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource

    return EnvSettingsSource(Config)()


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # pydantic names the union branch as a last part; the key alone is what the user wrote
    branches = {"float", "constrained-float", "literal['source','max']"}
    key = ".".join(str(part) for part in first["loc"] if str(part) not in branches)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key}: no such key{more}"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return message + more
    return f"{key}: {message} (got {first['input']!r}){more}"


def load(toml: Path | None = None, **options: Any) -> Config:
    """The configuration from ``options`` (None = not given), environment and ``toml``.

    Raises:
        ConfigError: one line that names the key at fault.
    """
    given = {key: value for key, value in options.items() if value is not None}
    data = _toml_data(toml) if toml is not None else {}
    try:
        environment = _environment()
        return Config(**_merge(_merge(data, environment), given))
    except ValidationError as error:
        prefix = f"{toml}: " if toml is not None else ""
        raise ConfigError(prefix + _describe(error)) from None
    except ValueError as error:  # pydantic-settings: malformed JSON in a variable
        raise ConfigError(str(error)) from None
