"""The files that run the service elsewhere say what they must; building and running them needs Docker and systemd."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from facesearch.server_settings import ServerSettings
from facesearch.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNIT = ROOT / "packaging" / "facesearch.service"
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, each with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_is_built_for_any_processor_and_runs_as_nobody_in_particular() -> None:
    stages = [number for number, (name, _) in enumerate(instructions()) if name == "FROM"]
    assert len(stages) == 2
    building, running = instructions()[: stages[1]], instructions()[stages[1] :]
    assert any(name == "ENV" and "HNSWLIB_NO_NATIVE=1" in said for name, said in building)
    assert next(place for place, (name, said) in enumerate(building) if "HNSWLIB_NO_NATIVE" in said) < next(
        place for place, (name, said) in enumerate(building) if "pip install" in said
    )
    (user,) = [said for name, said in running if name == "USER"]
    assert int(user) > 0
    assert all("g++" not in said for _, said in running)
    assert any(name == "HEALTHCHECK" and "/healthz" in said for name, said in running)
    assert ("ENTRYPOINT", '["facesearch"]') in running
    assert ("CMD", '["serve"]') in running


def test_the_image_copies_what_is_there_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = [said for name, said in instructions() if name == "COPY" and not said.startswith("--from")]
    names = {name for said in copied for name in shlex.split(said)[:-1]}
    assert len(names) >= 6
    assert names == let_in
    assert all((ROOT / name).exists() for name in names)


@pytest.mark.parametrize("text", [DOCKERFILE, UNIT.read_text(encoding="utf-8"), COMPOSE], ids=["Dockerfile", "unit", "compose"])
def test_every_variable_that_is_set_is_a_setting(text: str) -> None:
    known = {f"FACESEARCH_{name.upper()}" for name in Settings.model_fields}
    known |= {f"FACESEARCH_SERVER_{name.upper()}" for name in ServerSettings.model_fields}
    assert set(re.findall(r"FACESEARCH_[A-Z_]+", text)) <= known


def test_the_unit_is_hardened_and_lets_requests_finish() -> None:
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), allow_no_value=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string("\n".join(lines))
    service = unit["Service"]
    assert service["ExecStart"].endswith("/facesearch serve")
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "DynamicUser", "RestrictSUIDSGID"):
        assert service[name] == "yes", name
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert "MemoryDenyWriteExecute" not in service
    assert float(service["TimeoutStopSec"]) > ServerSettings().shutdown_timeout_s
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_compose_opens_the_service_to_this_machine_alone_and_lets_requests_finish() -> None:
    assert '"127.0.0.1:8000:8000"' in COMPOSE
    assert "read_only: true" in COMPOSE
    assert "no-new-privileges:true" in COMPOSE
    (grace,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert int(grace) > ServerSettings().shutdown_timeout_s
