"""Settings of the service: defaults < ``[server]`` of ``facesearch.toml`` < ``FACESEARCH_SERVER_…`` < options of ``serve``.

What the library itself does (data, networks, thresholds) is set by ``facesearch.settings``, in the service as everywhere else.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from facesearch.settings import SERVER_TABLE, FileSettings, Settings

MIB = 2**20
"""Bytes of a mebibyte."""

KEYS_REQUIRED: Literal["required"] = "required"
"""Value of ``keys`` under which every request names a key."""

KEYS_OFF: Literal["off"] = "off"
"""Value of ``keys`` under which whoever reaches the address may do everything."""


class ServerSettings(FileSettings):
    """Everything that can be set of the service, each also as ``FACESEARCH_SERVER_<NAME>`` and as a key of ``[server]``.

    Raises:
        SettingsError: A value is out of range, a name unknown, the settings file unreadable, or keys are off on an address that
            others can reach.
    """

    model_config = SettingsConfigDict(env_prefix="FACESEARCH_SERVER_", frozen=True, extra="forbid", validate_default=True)
    table: ClassVar[str] = SERVER_TABLE

    host: str = Field("127.0.0.1", min_length=1, description="Address listened on; 0.0.0.0 for every one of the machine.")
    port: int = Field(8000, ge=0, le=65_535, description="Port listened on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer requests over the one database.")

    keys: Literal["required", "off"] = Field(
        KEYS_REQUIRED, description="off lets everybody do everything, and is refused on any address but this machine's own."
    )
    requests_per_minute: int | None = Field(
        6000, ge=1, le=10_000_000, description="Requests a key may make a minute where its own limit is not set; None for any."
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may call the service; none by default.")

    threads: int | None = Field(
        None, ge=1, le=1024, description="Requests a process works on at once; None for two more than its share of the processors."
    )
    queue_limit: int = Field(64, ge=0, le=100_000, description="Requests that may wait for a thread; further ones get a 503.")
    request_timeout_s: float = Field(30.0, gt=0, le=3600, description="Longest a request may wait and be worked on, in seconds.")
    body_timeout_s: float = Field(30.0, gt=0, le=3600, description="Longest a body may take to arrive, in seconds.")
    shutdown_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest that requests in work are waited for at the end, in seconds."
    )

    max_body_bytes: int = Field(32 * MIB, ge=1024, description="Largest body of a request.")
    body_memory_bytes: int = Field(
        256 * MIB, ge=1024, description="Bodies in memory at once, of one process; further requests get a 503."
    )
    max_photo_pixels: int = Field(50_000_000, ge=1, description="Largest photograph; max_image_pixels holds where it is lower.")
    max_photos_per_request: int = Field(64, ge=1, le=10_000, description="Photographs in one request.")
    max_faces: int = Field(256, ge=1, le=10_000, description="Faces looked at in one photograph: the surest ones.")
    job_memory_bytes: int = Field(256 * MIB, ge=1024, description="Photographs of jobs in memory at once, of one process.")
    job_max_items: int = Field(100_000, ge=1, le=10_000_000, description="Photographs of one job.")

    audit_key_file: Path | None = Field(None, description="File of the audit log's secret; None for audit.key in data_dir.")
    audit_head_file: Path | None = Field(None, description="File of the audit log's head; None for audit.head in data_dir.")
    log_format: Literal["json", "text"] = Field("json", description="A line of JSON a request, or of text.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is told on stderr.")

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @model_validator(mode="after")
    def _keys_are_off_only_here(self) -> Self:
        if self.keys == KEYS_OFF and not is_loopback(self.host):
            raise ValueError(f"keys can be off only on this machine's own address (127.0.0.1, ::1 or localhost), not {self.host}")
        if self.max_body_bytes > self.body_memory_bytes:
            raise ValueError(
                f"one body of {self.max_body_bytes} bytes (max_body_bytes) does not fit into the {self.body_memory_bytes} of all "
                f"(body_memory_bytes)"
            )
        return self

    def audit_key(self, settings: Settings) -> Path:
        """Return the file of the audit log's secret, with the default filled in."""
        return self.audit_key_file if self.audit_key_file is not None else settings.data_dir / "audit.key"

    def audit_head(self, settings: Settings) -> Path:
        """Return the file of the audit log's head, likewise."""
        return self.audit_head_file if self.audit_head_file is not None else settings.data_dir / "audit.head"

    @property
    def resolved_threads(self) -> int:
        """Requests worked on at once, with the default filled in."""
        return self.threads if self.threads is not None else self.processors + 2

    @property
    def processors(self) -> int:
        """Processors that each process computes on: its share of this machine's, at least one."""
        return max(1, n_processors() // self.workers)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; a name other than ``localhost`` is taken for one that others can."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def n_processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
