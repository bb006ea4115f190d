"""The one typed configuration, filled from options, environment and TOML.

Precedence: command line, then ``MESPOT_…`` variables (sections with a double
underscore: ``MESPOT_SPOT__SEARCH_S``), then the TOML file, then the defaults.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

import models
from models.errors import UserError
from models.files import read_bytes
from pipeline.redaction import redacted

_MOST_BYTES = 1_000_000  # of a TOML file
_LONGEST_VALUE = 200
SHIPPED = Path(models.__file__).parent / "data" / "recognisers"


class ConfigError(UserError):
    """The configuration is wrong; the message names the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CaptureConfig(_Section):
    """Opening and reading the source."""

    open_timeout_s: float = Field(10.0, gt=0, le=3600, description="RTSP: wait for the camera, s")
    read_timeout_s: float = Field(5.0, gt=0, le=3600, description="live: wait for a frame, s")
    stale_s: float = Field(
        1.0, gt=0, le=3600, description="live: a frame later than this is dropped"
    )
    frozen_s: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="live: a camera that shows one picture so long is lost; 0: never",
    )
    stamps: Literal["camera", "arrival"] = Field(
        "camera", description="live: source time by the camera's stamps, or by arrival alone"
    )
    reconnect: bool = Field(True, description="live: seek a lost camera")
    retry_first_s: float = Field(
        0.5, gt=0, le=3600, description="live: wait before the first attempt"
    )
    retry_most_s: float = Field(
        30.0, gt=0, le=86400, description="live: longest wait between attempts"
    )
    give_up_s: float | None = Field(None, gt=0, description="live: seek no longer than this")
    wait: bool = Field(False, description="live: start before the camera does")
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
    window_s: float = Field(7.0, gt=0, le=600, description="window length, seconds")
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
    high_water_mark: int = Field(
        10_000, ge=1, le=10_000_000, description="messages held for a slow subscriber"
    )
    beat_s: float = Field(1.0, gt=0, le=60, description="seconds between beat messages")


class LogConfig(_Section):
    """The event log."""

    enabled: bool = Field(True, description="write every event to the log before it is published")
    path: Path | None = Field(None, description="the log; default: by stream, in the state folder")
    max_mb: float = Field(
        100.0, ge=1, le=1e6, description="the oldest events go when the log is larger"
    )
    max_days: float = Field(90.0, gt=0, le=36500, description="events older than this go")
    sync: Literal["full", "normal", "off"] = Field(
        "normal", description="full: on disk before it is published, power cuts included"
    )


class LslConfig(_Section):
    """LabStreamingLayer."""

    enabled: bool = Field(False, description="offer events and curves as LSL streams")
    curves: bool = Field(True, description="the curves as well; switches publish.curves on")
    name: str = Field("mespot", min_length=1, description="first word of the streams' names")
    offset_s: float = Field(
        0.0, ge=0, lt=10, description="the camera's own delay, light to capture; into the headers"
    )


class MetricsConfig(_Section):
    """Prometheus."""

    enabled: bool = Field(False, description="serve /metrics and /healthz")
    host: str = Field("127.0.0.1", min_length=1, max_length=255, description="address to serve at")
    port: int = Field(9464, ge=0, le=65535, description="0: a free one, printed at the start")
    token: SecretStr | None = Field(
        None, min_length=16, max_length=512, description="asked for as Authorization: Bearer"
    )
    stall_s: float = Field(
        30.0, gt=0, le=86400, description="no frame for so long, and no camera sought: unhealthy"
    )


class ConsoleConfig(_Section):
    """What mespot says."""

    format: Literal["text", "json"] = Field("text", description="json: an object a line")


class DashboardConfig(_Section):
    """The page."""

    enabled: bool = Field(False, description="serve the page")
    host: str = Field("127.0.0.1", min_length=1, description="address of the page")
    port: int = Field(8765, ge=0, le=65535, description="its port; 0 takes a free one")
    token: SecretStr | None = Field(
        None, description="what a browser must know; needed where others reach the page"
    )
    origin: str = Field(
        "",
        pattern=r"^(https?://[^/?#@\s]+)?$",
        description="https://name of a proxy through which others reach the page",
    )
    images: bool | None = Field(None, description="show pictures; default: on loopback alone")
    fps: float = Field(12.0, gt=0, le=60, description="most pictures a second")
    width: int = Field(640, ge=64, le=1920, description="most px of a picture's width")

    @property
    def loopback(self) -> bool:
        """Whether this machine alone reaches the page."""
        if self.origin:
            return False  # a proxy on this machine lets others in
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False  # a name may mean anything

    @property
    def pictures(self) -> bool:
        """Whether pictures leave their nodes."""
        return self.enabled and (self.loopback if self.images is None else self.images)


class GraphConfig(_Section):
    """Queues and supervision."""

    queue: int = Field(8, ge=1, le=1000, description="items held between two nodes")
    deaths: int = Field(3, ge=1, description="deaths of nodes within a minute that end the run")
    heartbeat_s: float = Field(0.5, gt=0, description="seconds between reports of a node")
    silence_s: float = Field(60.0, gt=0, description="a node silent for longer is taken as dead")
    drain_s: float = Field(
        2.0, ge=0, le=60, description="a stop waits so long for what is on its way"
    )


class SecurityConfig(_Section):
    """Who may listen."""

    keys: Path | None = Field(None, description="keys folder; default: ~/.config/mespot/keys")
    insecure: bool = Field(False, description="let everybody listen where there are no keys")
    curve: Literal["auto", "always"] = Field("auto", description="always: on loopback as well")

    @property
    def folder(self) -> Path:
        """The keys folder; by default below ``$XDG_CONFIG_HOME`` or ``~/.config``."""
        if self.keys is not None:
            return self.keys
        base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
        return (base if base.is_absolute() else Path.home() / ".config") / "mespot" / "keys"


class ClipsConfig(_Section):
    """Video of events, kept only where a folder is named."""

    folder: Path | None = Field(None, description="where clips are kept; unset: none are")
    blur: bool = Field(True, description="only the eyes and mouth that were looked at are sharp")
    crops: bool = Field(False, description="keep nothing but the eye and mouth crops")
    before_s: float = Field(1.0, ge=0, le=10, description="kept before the onset, s")
    after_s: float = Field(1.0, ge=0, le=10, description="kept after the offset, s")
    retention_days: float = Field(30.0, gt=0, description="older clips are deleted")
    max_mb: float = Field(1000.0, gt=0, description="beyond, the oldest clips are deleted")
    memory_mb: float = Field(64.0, ge=1, description="of frames held in memory, compressed")


def file_data(path: Path) -> dict[str, Any]:
    """What a TOML file says, unchecked.

    Raises:
        ConfigError: there is none, or it is no TOML.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such configuration file")
    try:
        return tomllib.loads(read_bytes(path, _MOST_BYTES, "a configuration").decode())
    except UserError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5000 digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


class Config(BaseSettings):
    """Everything that a run needs."""

    model_config = SettingsConfigDict(
        env_prefix="MESPOT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )

    source: str = Field("synthetic:", min_length=1, description="camera, video, folder, synthetic:")
    fps: float | Literal["source", "max"] = Field("source", description="replay rate")
    events: str = Field("tcp://127.0.0.1:5556", description="event socket; port * takes a free one")
    replay: str | None = Field(
        None, description="replay socket; default: beside the event socket, on the next port"
    )
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
    log: LogConfig = LogConfig()  # type: ignore[call-arg]
    lsl: LslConfig = LslConfig()  # type: ignore[call-arg]
    metrics: MetricsConfig = MetricsConfig()  # type: ignore[call-arg]
    console: ConsoleConfig = ConsoleConfig()  # type: ignore[call-arg]
    dashboard: DashboardConfig = DashboardConfig()  # type: ignore[call-arg]
    graph: GraphConfig = GraphConfig()  # type: ignore[call-arg]
    security: SecurityConfig = SecurityConfig()  # type: ignore[call-arg]
    clips: ClipsConfig = ClipsConfig()  # type: ignore[call-arg]

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
    def _no_nul(self) -> Config:
        for name, value in _texts(self):
            if "\0" in value:
                raise ValueError(f"{name}: holds a NUL character")
        return self

    @model_validator(mode="after")
    def _gpu_for_something(self) -> Config:
        if self.require_gpu and not self.models:
            raise ValueError("require_gpu: asks for a recogniser on the GPU, but no model is given")
        return self

    @model_validator(mode="after")
    def _clips_where_frames_are(self) -> Config:
        if self.clips.folder is not None and self.transport != "inproc":
            raise ValueError(
                "clips.folder: clips need transport inproc, where images stay in one process"
            )
        return self

    @model_validator(mode="after")
    def _curves_for_lsl(self) -> Config:
        if self.lsl.enabled and self.lsl.curves and not self.publish.curves:
            published = self.publish.model_copy(update={"curves": True})
            object.__setattr__(self, "publish", published)  # frozen for everybody else
        return self

    @property
    def stream(self) -> str:
        """The name of the stream in topics, logs and metrics, known before it is opened."""
        from pipeline.sources.naming import stream_of

        return stream_of(self.source, self.capture.name)

    @property
    def tapped(self) -> bool:
        """Whether this process listens to the run's own messages (``pipeline.tap``)."""
        return self.lsl.enabled or self.dashboard.enabled

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, redacted(value) if name == "source" else value

    @field_serializer("source", when_used="json")
    def _shown_source(self, value: str) -> str:
        return redacted(value)

    @property
    def models(self) -> list[Path]:
        """The recognisers that run: those asked for, else the shipped ones."""
        return sorted(SHIPPED.glob("*.onnx")) if self.model is None else self.model

    @field_validator("events", "replay")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
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


def _texts(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every text and path of the configuration, by its key."""
    for name, value in section:
        if isinstance(value, BaseModel):
            yield from _texts(value, f"{prefix}{name}.")
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, SecretStr):
                yield prefix + name, one.get_secret_value()
            if isinstance(one, str | Path):
                yield prefix + name, str(one)


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
    if key.endswith("token"):
        return f"{key}: {message}{more}"
    given = repr(first["input"])
    shown = given if len(given) <= _LONGEST_VALUE else given[:_LONGEST_VALUE] + "…"
    return redacted(f"{key}: {message} (got {shown})") + more


def load(toml: Path | None = None, **options: Any) -> Config:
    """The configuration from ``options`` (None = not given), environment and ``toml``.

    Raises:
        ConfigError: one line that names the key at fault.
    """
    data = {} if toml is None else file_data(toml)
    if "camera" in data:
        raise ConfigError(f"{toml}: has [[camera]] tables, and this command takes one camera")
    return from_data(data, toml, options)


def from_data(
    data: dict[str, Any],
    where: object,
    options: dict[str, Any],
    above: dict[str, Any] | None = None,
) -> Config:
    """The configuration of ``data``, with ``above`` over it, then environment and ``options``.

    Args:
        data: as a TOML file has it.
        where: the file, for messages; None: there is none.
        options: None values are not given.
        above: what wins over ``data``.

    Raises:
        ConfigError: one line that names the key at fault.
    """
    given = {key: value for key, value in options.items() if value is not None}
    try:
        low = _merge(data, above or {})
        return Config(**_merge(_merge(low, _environment()), given))
    except ValidationError as error:
        prefix = f"{where}: " if where is not None else ""
        raise ConfigError(prefix + _describe(error)) from None
    except (ValueError, RecursionError) as error:  # pydantic-settings: JSON in a variable
        raise ConfigError(str(error)) from None
