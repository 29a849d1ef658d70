from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from facesearch.core.errors import CheckpointNotFoundError
from facesearch.inference import create_engine
from facesearch.inference.model_cache import ABANDONED_S, ConvertedNetwork, read_compiled, read_converted, write_compiled
from facesearch.inference.processor import processor_key

BATCH = np.linspace(-1, 1, 3 * 20 * 20, dtype=np.float32).reshape(1, 3, 20, 20)


def load(cache_dir, spec, **options):
    return create_engine("openvino", cache_dir=cache_dir, **options).load(spec)


def kept(folder, suffix):
    """Return the one file of a kind."""
    (found,) = folder.glob(f"*{suffix}")
    return found


def test_the_second_load_reads_the_cache_and_gives_the_same_bits(tmp_path, counted_toy):
    toy, builds = counted_toy
    first = load(tmp_path / "new" / "folder", toy).run(BATCH)
    second = load(tmp_path / "new" / "folder", toy).run(BATCH)
    assert builds == ["built"]
    assert len(first) == len(second) == 2
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_files_are_named_by_network_and_digest_and_nothing_else_is_left(tmp_path, toy):
    load(tmp_path, toy)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert [name.rpartition(".")[2] for name in names] == ["compiled", "ir"]
    assert all(name.startswith("toy-0123456789ab-") for name in names)
    assert f"-f32-{processor_key()}.compiled" in names[0]


@pytest.mark.parametrize("change", [{"digest": "f" * 64}, {"revision": 2}, {"dynamic_axes": (0,)}])
def test_other_weights_shapes_or_revisions_have_a_file_of_their_own(tmp_path, counted_toy, change):
    toy, builds = counted_toy
    load(tmp_path, toy)
    load(tmp_path, replace(toy, **change))
    assert builds == ["built", "built"]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("place", [0, 20, 60, 400, -1])
def test_a_changed_byte_is_noticed_and_the_network_made_anew(tmp_path, counted_toy, caplog, place):
    toy, builds = counted_toy
    expected = load(tmp_path, toy).run(BATCH)[0]
    for suffix in (".ir", ".compiled"):
        file = kept(tmp_path, suffix)
        content = bytearray(file.read_bytes())
        content[place] ^= 0xFF
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        found = load(tmp_path, toy).run(BATCH)[0]
    assert np.array_equal(found, expected)
    assert builds == ["built", "built"]
    assert caplog.text.count("damaged") == 2
    assert read_converted(kept(tmp_path, ".ir")) is not None
    assert read_compiled(kept(tmp_path, ".compiled")) is not None


def test_a_sound_conversion_is_enough_where_the_compiled_copy_is_damaged(tmp_path, counted_toy, caplog):
    toy, builds = counted_toy
    expected = load(tmp_path, toy).run(BATCH)[0]
    kept(tmp_path, ".compiled").write_bytes(b"facesearch-cc-1\n")
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        assert np.array_equal(load(tmp_path, toy).run(BATCH)[0], expected)
    assert builds == ["built"]
    assert "damaged" in caplog.text


def test_a_compiled_copy_that_openvino_does_not_take_is_made_anew(tmp_path, toy, caplog):
    expected = load(tmp_path, toy).run(BATCH)[0]
    write_compiled(kept(tmp_path, ".compiled"), b"sealed soundly, but of no network")
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        assert np.array_equal(load(tmp_path, toy).run(BATCH)[0], expected)
    assert "made anew" in caplog.text
    caplog.clear()
    assert np.array_equal(load(tmp_path, toy).run(BATCH)[0], expected)
    assert not caplog.records


def test_a_compiled_copy_serves_any_number_of_threads_and_streams(tmp_path, counted_toy):
    toy, builds = counted_toy
    expected = load(tmp_path, toy, threads=1).run(BATCH)[0]
    for threads, streams in ((2, 1), (1, 1), (2, 2)):
        assert np.array_equal(load(tmp_path, toy, threads=threads, streams=streams).run(BATCH)[0], expected)
    assert builds == ["built"]
    assert len(list(tmp_path.iterdir())) == 2


def test_another_processor_has_a_compiled_copy_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("flags : fpu avx2 avx512_vnni\n")
    there.write_text("flags : fpu avx2\n")
    assert len({processor_key(here), processor_key(there)}) == 2
    assert processor_key(tmp_path / "absent") is None


def test_what_a_killed_process_left_is_cleaned_up_and_what_is_being_made_is_not(tmp_path, toy):
    abandoned, at_work = tmp_path / ".making-old", tmp_path / ".making-new"
    for folder in (abandoned, at_work):
        folder.mkdir()
        (folder / "network.xml").write_text("half")
    long_ago = time.time() - ABANDONED_S - 60
    os.utime(abandoned, (long_ago, long_ago))
    load(tmp_path, toy)
    assert not abandoned.exists()
    assert (at_work / "network.xml").is_file()


def test_a_read_only_folder_means_in_memory_and_one_warning(tmp_path, counted_toy, caplog, monkeypatch):
    toy, builds = counted_toy

    def refused(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    with caplog.at_level(logging.WARNING, logger="facesearch"):
        results = [load(tmp_path / "read-only", toy).run(BATCH)[0] for _ in range(2)]
    assert np.array_equal(*results)
    assert builds == ["built", "built"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Permission denied" in caplog.text


@pytest.mark.parametrize("size", [0, 10, 100, 1000])
def test_a_file_cut_short_is_noticed(tmp_path, toy, size):
    load(tmp_path, toy)
    for suffix, read in ((".ir", read_converted), (".compiled", read_compiled)):
        file = kept(tmp_path, suffix)
        assert read(file) is not None
        file.write_bytes(file.read_bytes()[:size])
        assert read(file) is None


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
