"""The first runs in several threads at once: OpenVINO's own tables must be there before."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT

SCRIPT = """
    import os, sys, threading
    from facesearch.inference.openvino_library import openvino

    library = openvino()
    sys.setswitchinterval(1e-7)
    together = threading.Barrier(4)

    def ask():
        together.wait()
        library.Type.f32.to_dtype()

    for _ in range(4):
        threading.Thread(target=ask, daemon=True).start()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()
    print("done", flush=True)
    os._exit(0)
"""


def test_threads_that_ask_for_types_at_once_do_not_wait_for_each_other() -> None:
    pytest.importorskip("openvino")
    # Without the tables four of five processes stand still for ever.
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout == "done\n", done.stderr
