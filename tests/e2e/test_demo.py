"""`make demo` tells a true story, and says so by its exit status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image as PilImage

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo.py"


def run_demo(folder: Path, *, code: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as `make demo` does, after `code`."""
    start = f"{code}\nimport runpy, sys; sys.path.insert(0, {str(DEMO.parent)!r}); sys.argv = ['demo.py', '--output', 'out']\n"
    command = [sys.executable, "-c", start + f"runpy.run_path({str(DEMO)!r}, run_name='__main__')"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_")}
    variables |= {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=300)


def test_every_outcome_is_as_it_should_be_and_there_is_a_picture_of_it(tmp_path: Path) -> None:
    # A gallery named by the environment is a real one: the demo leaves it alone.
    done = run_demo(tmp_path, code=f"import os; os.environ['FACESEARCH_DATABASE_URL'] = 'sqlite:///{tmp_path / 'real.db'}'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert re.search(r"All \d{2} outcomes are as they should be", done.stdout)
    picture = tmp_path / "out" / "contact-sheet.png"
    assert f"The picture of it:  {picture}" in done.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "contact-sheet.png"]
    with PilImage.open(picture) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > 1000
    assert pixels.std() > 40


def test_a_wrong_outcome_is_an_exit_status_of_1(tmp_path: Path) -> None:
    # With such a threshold Grace Hopper comes back as Eileen Collins, the only one enrolled.
    loose = """
import facesearch.core.decision as decision
def at_fpir(points, fpir, n_templates):
    return decision.OperatingPoint(-1.0, 1.0, points.embedder_id, 1) if fpir >= 1e-2 else points.at_fmr(fpir)
decision.OperatingPoints.at_fpir = at_fpir
"""
    done = run_demo(tmp_path, code=loose)
    assert done.returncode == 1
    assert "NOT as they should be" in done.stdout
    assert "Grace Hopper, not enrolled: Eileen Collins" in done.stdout
