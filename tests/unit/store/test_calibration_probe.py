"""The quick look for a calibration: sure of a no, and leaves every doubt to the store."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.store.calibration_probe import may_hold_calibration
from facesearch.store.sql import SqlStore

ABOUT = ((-9.0, 9.0), 0.5, (-5.0, 5.0), 10, 100, 20, "", "toy", datetime(2026, 1, 2, tzinfo=UTC))


def test_it_is_sure_only_of_a_no(tmp_path):
    file = tmp_path / "a folder?#%" / "gallery.db"
    assert not may_hold_calibration(file, "toy@1")
    assert not file.parent.exists()
    file.parent.mkdir()
    store = SqlStore(f"sqlite:///{tmp_path}/plain.db")
    plain = tmp_path / "plain.db"
    with store.writing() as writer:
        writer.ensure_collection("default")
    assert not may_hold_calibration(plain, "toy@1")
    with store.writing() as writer:
        writer.save_calibration(Calibration("toy@1", CalibrationMethod.LOGISTIC, (-1.0, 1.0), *ABOUT))
    assert may_hold_calibration(plain, "toy@1")
    assert not may_hold_calibration(plain, "toy@2")
    store.close()
    file.write_bytes(plain.read_bytes())
    assert may_hold_calibration(file, "toy@1")


def test_what_it_cannot_read_is_left_to_the_store(tmp_path):
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"no database at all" * 100)
    assert may_hold_calibration(damaged, "toy@1")
    empty = tmp_path / "empty.db"
    empty.touch()
    assert may_hold_calibration(empty, "toy@1")


def test_it_loads_no_database_library():
    code = "import sys, facesearch.store.calibration_probe; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
