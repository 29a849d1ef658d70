"""``facesearch serve`` before anything listens: settings, the socket, the missing extra, and what it tells."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from facesearch.cli.server_process import NEEDED, bound_socket, require_server_packages
from facesearch.core.errors import ServiceError, SettingsError


@pytest.fixture
def served(library, monkeypatch):
    """What would have been served: server settings and the variables of its processes."""
    calls = []

    def serve(server, bound, variables):
        with bound:
            calls.append((server, bound.getsockname(), variables))

    monkeypatch.setattr(library, "serve", serve, raising=False)
    monkeypatch.setattr(library, "n_api_keys", lambda settings: 1, raising=False)
    return calls


def test_it_listens_and_says_where(cli, served):
    ran = cli("serve", "--port", "0")
    assert (ran.code, ran.out) == (0, "")
    ((server, (host, port), variables),) = served
    assert (host, server.workers, server.keys) == ("127.0.0.1", 1, "required")
    assert ran.err == f"facesearch serves on http://127.0.0.1:{port} (1 process, keys required); Ctrl-C ends it\n"
    assert variables == {"FACESEARCH_SERVER_PORT": "0"}


def test_options_reach_the_processes_as_variables(cli, served, tmp_path):
    (tmp_path / "own.toml").write_text("[server]\nqueue_limit = 3\n", encoding="utf-8")
    ran = cli("serve", "--port", "0", "--workers", "2", "--data-dir", "people", "--min-face", "40", "--config", "own.toml")
    assert ran.code == 0, ran.err
    ((server, _, variables),) = served
    assert (server.workers, server.queue_limit) == (2, 3)
    assert variables == {
        "FACESEARCH_SERVER_PORT": "0",
        "FACESEARCH_SERVER_WORKERS": "2",
        "FACESEARCH_DATA_DIR": "people",
        "FACESEARCH_MIN_FACE_PX": "40",
        "FACESEARCH_CONFIG": str(tmp_path / "own.toml"),
    }


def test_a_first_start_says_how_to_make_a_key(cli, served, library, monkeypatch):
    monkeypatch.setattr(library, "n_api_keys", lambda settings: 0)
    ran = cli("serve", "--port", "0")
    assert ran.code == 0
    assert "there is no API key. Make one with: facesearch keys create" in ran.err
    assert len(served) == 1


def test_without_keys_it_says_so_and_asks_the_database_nothing(cli, served, library, monkeypatch):
    monkeypatch.setattr(library, "n_api_keys", lambda settings: pytest.fail("asked"))
    ran = cli("serve", "--port", "0", "--keys", "off")
    assert ran.code == 0
    assert "keys are off: everybody who can reach this machine's own address may do everything" in ran.err
    assert served[0][2]["FACESEARCH_SERVER_KEYS"] == "off"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--keys", "off", "--host", "0.0.0.0"), "keys can be off only on this machine's own address"),
        (("--keys", "perhaps"), "setting keys"),
        (("--workers", "0"), "setting workers"),
        (("--port", "99999"), "setting port"),
        (("--host", "no such host"), "the address 'no such host' is unknown"),
    ],
)
def test_what_is_wrong_is_told_before_anything_listens(cli, served, options, said):
    ran = cli("serve", *options)
    assert ran.code == 2
    assert said in ran.err
    assert not served


def test_a_port_in_use_is_told_with_what_to_do(cli, served):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ran = cli("serve", "--port", str(port))
    assert ran.code == 2
    assert f"port {port} of 127.0.0.1 is in use: stop what listens there, or choose another with --port" in ran.err
    assert not served


def test_a_missing_extra_is_named(monkeypatch):
    require_server_packages()
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == NEEDED[0] else found(name))
    with pytest.raises(SettingsError, match=r"pip install 'facesearch\[server\]'") as caught:
        require_server_packages()
    assert caught.value.context["missing"] == [NEEDED[0]]


def test_an_error_of_a_process_has_its_exit_code(cli, served, library, monkeypatch):
    def fail(server, bound, variables):
        bound.close()
        raise ServiceError("a process of the service could not start; it said why above")

    monkeypatch.setattr(library, "serve", fail)
    ran = cli("serve", "--port", "0")
    assert ran.code == 8
    assert ran.err.endswith("error: a process of the service could not start; it said why above\n")


def test_an_ipv6_address_is_bound_too():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        bound = bound_socket("::1", 0)
    except SettingsError as exc:
        pytest.skip(f"no IPv6 loopback here: {exc.message}")
    with bound:
        assert bound.getsockname()[0] == "::1"
