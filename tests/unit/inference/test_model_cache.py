from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.errors import CheckpointNotFoundError
from facesearch.inference import create_engine
from facesearch.inference.model_cache import ConvertedNetwork, read_converted

BATCH = np.linspace(-1, 1, 3 * 20 * 20, dtype=np.float32).reshape(1, 3, 20, 20)


def load(cache_dir, spec):
    return create_engine("openvino", cache_dir=cache_dir).load(spec)


def test_the_second_load_reads_the_cache_and_gives_the_same_bits(tmp_path, counted_toy):
    toy, builds = counted_toy
    first = load(tmp_path / "new" / "folder", toy).run(BATCH)
    second = load(tmp_path / "new" / "folder", toy).run(BATCH)
    assert builds == ["built"]
    assert len(first) == len(second) == 2
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_file_is_named_by_network_and_digest_and_nothing_else_is_left(tmp_path, toy):
    load(tmp_path, toy)
    (kept,) = list(tmp_path.iterdir())
    assert kept.name.startswith("toy-0123456789ab-")
    assert kept.suffix == ".ir"


@pytest.mark.parametrize("change", [{"digest": "f" * 64}, {"revision": 2}, {"dynamic_axes": (0,)}])
def test_other_weights_shapes_or_revisions_have_a_file_of_their_own(tmp_path, counted_toy, change):
    toy, builds = counted_toy
    load(tmp_path, toy)
    load(tmp_path, replace(toy, **change))
    assert builds == ["built", "built"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("place", [0, 20, 60, 400, -1])
def test_a_changed_byte_is_noticed_and_the_network_made_anew(tmp_path, counted_toy, caplog, place):
    toy, builds = counted_toy
    expected = load(tmp_path, toy).run(BATCH)[0]
    (kept,) = tmp_path.iterdir()
    content = bytearray(kept.read_bytes())
    content[place] ^= 0xFF
    kept.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        found = load(tmp_path, toy).run(BATCH)[0]
    assert np.array_equal(found, expected)
    assert builds == ["built", "built"]
    assert "damaged" in caplog.text
    assert read_converted(kept) is not None


@pytest.mark.parametrize("size", [0, 10, 100, 1000])
def test_a_file_cut_short_is_noticed(tmp_path, toy, size):
    load(tmp_path, toy)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:size])
    assert read_converted(kept) is None


def test_bytes_round_trip():
    network = ConvertedNetwork(b"<net/>", b"\x00\x01weights")
    assert ConvertedNetwork.from_bytes(network.to_bytes()) == network


def test_a_folder_that_cannot_be_made_means_in_memory_and_one_warning(tmp_path, counted_toy, caplog):
    toy, builds = counted_toy
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        engine = create_engine("openvino", cache_dir=blocker / "cache")
        first = engine.load(toy).run(BATCH)
        second = engine.load(toy).run(BATCH)
    assert builds == ["built", "built"]
    assert np.array_equal(first[0], second[0])
    assert [record.levelname for record in caplog.records if "cannot be kept" in record.message] == ["WARNING"]


def test_no_space_left_means_in_memory(tmp_path, toy, monkeypatch, caplog):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        assert len(load(tmp_path, toy).run(BATCH)) == 2
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_kept_or_said(tmp_path, counted_toy, caplog, monkeypatch):
    toy, builds = counted_toy
    monkeypatch.chdir(tmp_path)
    load(None, toy)
    load(None, toy)
    assert builds == ["built", "built"]
    assert not caplog.records
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_build_is_not_disguised(tmp_path, toy):
    def build():
        raise CheckpointNotFoundError("no weights here")

    with pytest.raises(CheckpointNotFoundError, match="no weights here"):
        load(tmp_path, replace(toy, build=build))


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event in WATCHED else None)
WATCHED = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "os.fork", "os.posix_spawn", "subprocess.Popen"}
import numpy as np
from pathlib import Path
from facesearch.inference import NetworkSpec, create_engine
assert not {"torch", "openvino"} & set(sys.modules), "the import alone loads an engine"
def build():
    import torch
    return torch.nn.Conv2d(3, 4, 3).eval()
spec = NetworkSpec("toy", "ab" * 32, build, (1, 3, 8, 8))
create_engine("openvino", cache_dir=Path(sys.argv[1])).load(spec).run(np.zeros((1, 3, 8, 8), np.float32))
import time; time.sleep(0.3)  # a sender in the background would have begun by now
from openvino.tools.ovc import telemetry_utils
print("torch" in sys.modules, "openvino_telemetry" in sys.modules, telemetry_utils.tm.Telemetry.__module__, ",".join(seen))
"""


def test_no_connection_is_made_and_a_warm_load_never_imports_torch(tmp_path):
    fake = tmp_path / "site" / "openvino_telemetry"
    fake.mkdir(parents=True)
    tell_tale = tmp_path / "telemetry-was-imported"
    (fake / "__init__.py").write_text(f"open({str(tell_tale)!r}, 'w').close()\n")
    answers = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, str(tmp_path / "cache")],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": f"{tmp_path / 'site'}:.", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout.split())
    stub = "facesearch.inference.openvino_library"
    cold, warm = answers
    assert cold[:3] == ["True", "False", stub]
    assert warm == ["False", "False", stub]
    assert not any(event.startswith("socket.") for event in ",".join(cold[3:]).split(","))
    assert not tell_tale.exists()
