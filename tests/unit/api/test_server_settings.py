"""The service's settings: their sources, their limits, and the library's settings beside them in one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.errors import SettingsError
from facesearch.server_settings import ServerSettings, is_loopback
from facesearch.settings import CONFIG_VARIABLE, Settings

FILE = """
min_face_px = 40

[server]
port = 9000
keys = "off"
queue_limit = 7
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "facesearch.toml"
    file.write_text(FILE, encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    return file


def test_one_file_has_both_kinds_of_settings(config: Path) -> None:
    server = ServerSettings()
    assert (server.port, server.keys, server.queue_limit) == (9000, "off", 7)
    assert Settings().min_face_px == 40
    assert config.is_file()


def test_options_win_over_the_environment_and_that_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESEARCH_SERVER_PORT", "9001")
    assert ServerSettings().port == 9001
    assert ServerSettings(port=9002).port == 9002
    assert ServerSettings().queue_limit == 7
    assert config.is_file()


def test_a_name_in_the_wrong_place_is_an_error(config: Path) -> None:
    config.write_text("port = 9000\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="port"):
        Settings()
    config.write_text("[server]\nmin_face_px = 40\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="min_face_px"):
        ServerSettings()
    config.write_text("server = 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"\[server\]"):
        Settings()
    config.write_text("[server\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot be read"):
        ServerSettings()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "example.org", "::"])
def test_keys_are_off_on_this_machines_own_address_only(host: str) -> None:
    with pytest.raises(SettingsError, match=r"keys can be off only on this machine's own address"):
        ServerSettings(keys="off", host=host)
    assert ServerSettings(keys="required", host=host).host == host
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_addresses_take_no_keys_where_they_are_off(host: str) -> None:
    assert ServerSettings(keys="off", host=host).keys == "off"


def test_one_body_fits_into_the_memory_of_all() -> None:
    with pytest.raises(SettingsError, match="does not fit"):
        ServerSettings(max_body_bytes=2_000_000, body_memory_bytes=1_000_000)


def test_files_of_the_audit_log_are_in_the_data_folder_unless_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    server = ServerSettings()
    assert server.audit_key(settings) == tmp_path / "audit.key"
    assert server.audit_head(settings) == tmp_path / "audit.head"
    assert ServerSettings(audit_key_file=Path("/etc/facesearch/audit.key")).audit_key(settings) == Path("/etc/facesearch/audit.key")
    assert server.resolved_threads >= 3
    assert ServerSettings(threads=5).resolved_threads == 5
