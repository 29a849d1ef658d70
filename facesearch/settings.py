"""Settings: defaults < ``facesearch.toml`` < ``FACESEARCH_…`` variables < what the caller passes.

Built once by an entry point and handed to ``bootstrap``; nothing else reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from facesearch.core.compact import TemplateFormat
from facesearch.core.decision import DEFAULT_IDENTIFY_FPIR, DEFAULT_VERIFY_FMR
from facesearch.core.errors import SettingsError
from facesearch.core.fusion import DEFAULT_FUSION, Fusion
from facesearch.core.identity import DEFAULT_COLLECTION, Keep
from facesearch.core.quality import QualityGate

CONFIG_VARIABLE = "FACESEARCH_CONFIG"
"""Environment variable that names the settings file; ``facesearch.toml`` of the current folder where it is not set."""

SERVER_TABLE = "server"
"""Table of the settings file that holds the service's own settings; see ``facesearch.server_settings``."""


class FileSettings(BaseSettings):
    """Settings of arguments, environment, settings file and defaults, in this order.

    Raises:
        SettingsError: A value is out of range, a name unknown, or the settings file unreadable.
    """

    table: ClassVar[str] = ""
    """Table of the settings file that they are read from; empty for what stands before all tables."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"setting {name}: {said}" if name else said, setting=name) from exc
        except (OSError, ValueError) as exc:
            raise SettingsError(f"the settings file {_config_file()} cannot be read: {exc}") from exc

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in order: arguments, environment, settings file, defaults."""
        return (init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=_file_values(cls.table)))


class Settings(FileSettings):
    """Everything that can be set, each also as ``FACESEARCH_<NAME>`` and as a key of ``facesearch.toml``.

    Raises:
        SettingsError: A value is out of range, a name unknown, or the settings file unreadable.
    """

    model_config = SettingsConfigDict(env_prefix="FACESEARCH_", frozen=True, extra="forbid", validate_default=True)

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("facesearch", appauthor=False)),
        description="Folder of the default database and of the index snapshots.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("facesearch", appauthor=False)),
        description="Folder of converted networks and of templates of measured photographs; can be deleted at any time.",
    )
    models_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("facesearch", appauthor=False)) / "models",
        description="Folder of the embedders that models add and models fetch put there; the same for every data_dir.",
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty means an SQLite file in data_dir.")
    collection: str = Field(DEFAULT_COLLECTION, min_length=1, description="Collection used where none is named.")

    engine: Literal["openvino", "torch"] = Field("openvino", description="What runs the networks.")
    device: str = Field("cpu", description="cpu; with the torch engine also cuda, cuda:1 for the second one, or mps.")
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto",
        description="Arithmetic of the networks; auto means the fastest that the processor has and a network's figures bear.",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="Threads of the engine; None leaves it to the engine.")
    streams: int = Field(1, ge=1, le=1024, description="Runs of a network at once, sharing the threads; 1 answers soonest.")

    embedder: str = Field("mobilenet-128", min_length=1, description="Registered name of the embedder.")
    flip_average: bool = Field(False, description="Average the vectors of a crop and of its mirror image: twice the work.")
    batch_size: int = Field(16, ge=1, le=1024, description="Crops a run of the embedder.")

    min_face_px: int = Field(20, ge=12, le=10_000, description="Smallest face looked for, side of the box in pixels.")
    video_min_face_px: int = Field(40, ge=12, le=10_000, description="Smallest face looked for in a video, likewise.")
    scale_factor: float = Field(0.709, gt=0.1, lt=0.99, description="Size of a pyramid level relative to the one before.")
    detection_thresholds: tuple[float, float, float] = Field((0.6, 0.7, 0.7), description="Scores that P-, R- and O-Net demand.")
    max_faces: int | None = Field(None, ge=1, description="At most so many faces a photograph; None for all.")

    max_image_bytes: int = Field(64 * 2**20, ge=1, description="Largest encoded photograph in bytes.")
    max_image_pixels: int = Field(100_000_000, ge=1, description="Largest photograph in pixels.")
    keep: Keep = Field(Keep.NONE, description="Picture stored beside a template: none, crop or photo.")

    index: Literal["auto", "exact", "hnsw"] = Field("auto", description="Kind of vector index; auto chooses by gallery size.")
    exact_below: int | None = Field(
        None, ge=0, description="Templates below which auto searches exactly; None for 20,000 of 128 numbers, fewer of longer ones."
    )
    template_format: TemplateFormat = Field(
        "f32", description="How galleries hold templates: f32, int8 (a quarter of the space) or binary (bits before bytes)."
    )
    hnsw_m: int | None = Field(None, ge=2, le=256, description="Links a node of the HNSW graph; None for the measured default.")
    hnsw_ef_construction: int | None = Field(None, ge=4, le=10_000, description="Breadth of the search while building.")
    hnsw_ef: int | None = Field(None, ge=1, le=10_000, description="Breadth of the search; more is slower and more exact.")

    verify_fmr: float = Field(DEFAULT_VERIFY_FMR, gt=0, le=1, description="False match rate of 1:1 decisions.")
    identify_fpir: float = Field(
        DEFAULT_IDENTIFY_FPIR, gt=0, le=1, description="False positive identification rate of 1:N decisions."
    )
    fusion: Fusion = Field(
        DEFAULT_FUSION, description="How several photographs of a person become one score: best, mean or quality."
    )
    duplicate_fpir: float = Field(
        1e-3, gt=0, le=1, description="Rate at which an enrolment may wrongly be called a duplicate person."
    )
    quality_gate: QualityGate = Field(
        QualityGate.STANDARD, description="What is refused at enrolment: off (nothing), standard (hardly usable faces) or strict."
    )
    mismatch_fmr: float = Field(1e-2, gt=0, le=1, description="FMR whose threshold a further photograph of a person must reach.")

    busy_timeout_s: float = Field(30.0, gt=0, le=3600, description="Wait for other writers of the database, in seconds.")

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @property
    def resolved_database_url(self) -> str:
        """The database URL, with the default filled in."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'facesearch.db').absolute()}"

    @property
    def index_dir(self) -> Path:
        """Folder of the index snapshots."""
        return self.data_dir / "index"


def _config_file() -> Path:
    return Path(os.environ.get(CONFIG_VARIABLE, "facesearch.toml"))


def _file_values(table: str) -> dict[str, Any]:
    file = _config_file()
    if not file.is_file():
        if CONFIG_VARIABLE in os.environ:
            raise SettingsError(f"{CONFIG_VARIABLE} names {file}, which is no file")
        return {}
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    own = values.pop(SERVER_TABLE, {})
    if not isinstance(own, dict):
        raise SettingsError(f"{SERVER_TABLE} in {file} is a table, [{SERVER_TABLE}], not a value", setting=SERVER_TABLE)
    return own if table == SERVER_TABLE else values
