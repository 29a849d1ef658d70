"""The service under load beside deepface's: latencies and throughput of verify and identify against the number of clients.

Usage: ``python -m benchmarks.service [--data FOLDER] [--rounds 3] [--seconds 4] [--json FILE]``; LFW is in ``FOLDER/lfw``.

Ours is ``facesearch serve`` with a process for each of the two cores (its start is that of one), with everything it does for a
request: the key, its rate, the audit log on the disk. deepface's service is its own Flask application under gunicorn with one
worker, as its Docker file starts it, and, since that answers one request at a time, once more with two. It compares by ``SFace``,
the fastest of its networks whose files are to be had without a download, and by ``VGG-Face``, its API's default (random numbers
for weights: the same work, no accuracy), both behind its fast detector ``yunet``. Same photographs (pairs of LFW's View 1), same
clients (``benchmarks.load``), which share the two cores with the server; servers take turns, those that are not asked sleep.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Answers, ask, multipart, request, spread, together
from benchmarks.side_by_side import PEERS, ROOT, THREAD_VARIABLES, THREADS, Results, package_versions

CLIENTS = (1, 4, 16, 64)
GOAL_AT = 16
GOAL_RATIO = 5.0
GOAL_START_S = 3.0
N_PAIRS = 15
N_PEOPLE = 500
RUN = "from facesearch.cli.main import run; run()"
DEEPFACE_HOME = ROOT / ".bench" / "deepface-service"
DEEPFACE = {"SFace": CLIENTS, "VGG-Face": (1, 16)}
"""Models of deepface, and with how many clients: those of the slow one wait for minutes where there are more."""

DETECTOR = "yunet"


@dataclass
class Server:
    """A running server.

    Attributes:
        port: Of this machine.
        pid: Of its first process.
    """

    port: int
    pid: int


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def get(port: int, path: str, timeout_s: float = 60.0) -> int:
    """Return the status of a GET; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return 0


def wait_for(port: int, path: str, process: subprocess.Popen[bytes], limit_s: float = 180.0) -> float:
    """Return when a server first answers a GET with 200, in seconds of ``perf_counter``.

    Raises:
        SystemExit: It ended, or did not answer in time.
    """
    deadline = time.perf_counter() + limit_s
    while time.perf_counter() < deadline:
        if get(port, path) == 200:
            return time.perf_counter()
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        time.sleep(0.01)
    raise SystemExit(f"the server did not answer {path} within {limit_s:g} s")


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], port: int, path: str) -> Iterator[Server]:
    """Start a server, wait for it, and end it."""
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(THREADS)), **variables}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
        try:
            try:
                wait_for(port, path, process)
            except SystemExit as exc:
                log.seek(0)
                raise SystemExit(f"{exc}\n{log.read()[-2000:].decode(errors='replace')}") from exc
            yield Server(port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ours(home: Path, *options: str) -> tuple[list[str], dict[str, str], int]:
    """Return the command, the variables and the port of our service."""
    port = free_port()
    variables = {"FACESEARCH_DATA_DIR": str(home), "FACESEARCH_SERVER_REQUESTS_PER_MINUTE": "1000000"}
    return [sys.executable, "-c", RUN, "serve", "--port", str(port), *options], variables, port


def start_times(home: Path, wanted: bytes, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from starting the process to its first 200 of ``/healthz``, and to its first answer of verify."""
    health, verify = [], []
    for number in range(rounds + 1):
        command, variables, port = ours(home)
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            alive = wait_for(port, "/healthz", process) - began
            found = ask(port, [wanted], clients=1, n=1)
            answered = time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(60)
        if found.statuses != {200: 1}:
            raise SystemExit(f"the first verify was answered with {dict(found.statuses)}")
        if number:  # the first one fills the page cache and the cache of compiled networks
            health.append(alive)
            verify.append(answered)
    return health, verify


def pairs(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return pairs of photographs of LFW's View 1, mated and non-mated in turns."""
    lines = [line.split() for line in (folder / "pairsDevTrain.txt").read_text().splitlines()[1:]]
    mated = [(line[0], line[1], line[0], line[2]) for line in lines if len(line) == 3]
    others = [tuple(line) for line in lines if len(line) == 4]
    chosen = [pair for two in zip(mated, others, strict=False) for pair in two]

    def read(name: str, number: str) -> bytes:
        return (folder / "images" / name / f"{name}_{int(number):04d}.jpg").read_bytes()

    return [(read(a, n), read(b, m)) for a, n, b, m in chosen[: 2 * N_PAIRS]]


def our_requests(key: str, chosen: Sequence[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Return requests to verify pairs, and to identify the faces of their first photographs."""
    head = {"Authorization": f"Bearer {key}"}
    verify, identify = [], []
    for a, b in chosen:
        kind, body = multipart({"face_a": "largest", "face_b": "largest"}, [("photo_a", a), ("photo_b", b)])
        verify.append(request("POST", "/v1/verify", {**head, "Content-Type": kind}, body))
        kind, body = multipart({}, [("photo", a)])
        identify.append(request("POST", "/v1/collections/default/identify", {**head, "Content-Type": kind}, body))
    return verify, identify


def deepface_requests(name: str, chosen: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the same requests to verify, as deepface takes them."""
    made = []
    for a, b in chosen:
        kind, body = multipart({"model_name": name, "detector_backend": DETECTOR}, [("img1", a), ("img2", b)])
        made.append(request("POST", "/verify", {"Content-Type": kind}, body))
    return made


def prepared_deepface() -> None:
    """Put the weights where deepface looks for them: SFace and yunet from their package, VGG-Face's random."""
    from benchmarks.peer_systems import carried

    weights = DEEPFACE_HOME / ".deepface" / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    for name in ("yunet", "sface"):
        source = Path(carried(name))
        if not (weights / source.name).exists():
            (weights / source.name).symlink_to(source)
    if not (weights / "vgg_face_weights.h5").exists():
        code = (
            "import sys\nfrom deepface import DeepFace\nfrom deepface.models.facial_recognition.tf import VGGFace\n"
            "VGGFace.base_model().save_weights(sys.argv[1])"
        )
        variables = {**os.environ, "DEEPFACE_HOME": str(DEEPFACE_HOME), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [str(PEERS), "-c", code, str(weights / "vgg_face_weights.h5")]
        subprocess.run(command, env=variables, check=True, capture_output=True)


def deepface(workers: int) -> tuple[list[str], dict[str, str], int]:
    """Return the command, the variables and the port of deepface's service."""
    port = free_port()
    variables = {"DEEPFACE_HOME": str(DEEPFACE_HOME), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [str(PEERS), "-m", "gunicorn", f"--workers={workers}", "--timeout=3600", f"--bind=127.0.0.1:{port}"]
    return [*command, "deepface.api.src.app:create_app()"], variables, port


def enrolled(home: Path, folder: Path) -> tuple[str, int]:
    """Enroll one photograph of each of many people; return a key and how many were enrolled."""
    from facesearch.bootstrap import FaceSearch, Parts
    from facesearch.service.api_keys import ApiKeys
    from facesearch.settings import Settings

    people = sorted(path for path in (folder / "images").iterdir() if path.is_dir())[:N_PEOPLE]
    with tempfile.TemporaryDirectory() as name:
        for person in people:
            (Path(name) / person.name).mkdir()
            first = sorted(person.glob("*.jpg"))[0]
            (Path(name) / person.name / first.name).symlink_to(first.resolve())
        with FaceSearch(home) as faces:
            n_enrolled = faces.enroll_folder(name, face="largest").n_enrolled
    store = Parts(Settings(data_dir=home)).store
    key = ApiKeys(store).create("load", ["verify", "identify", "read"], requests_per_minute=1_000_000).text
    store.close()
    return key, n_enrolled


def measured(
    servers: Mapping[str, tuple[Server, list[bytes]]], clients: int, rounds: int, seconds: float
) -> dict[str, list[Answers]]:
    """Ask every server in turns; return what each answered, a round each."""
    found: dict[str, list[Answers]] = {name: [] for name in servers}
    names = list(servers)
    for _ in range(rounds):
        for name in names:
            server, requests = servers[name]
            found[name].append(ask(server.port, requests, clients=clients, seconds=seconds))
        names.reverse()
    return found


def usable(servers: Mapping[str, tuple[Server, list[bytes]]], n: int) -> list[int]:
    """Return the places of the pairs that every server answers: deepface refuses photographs in which it finds no face."""

    def is_answered(server: Server, wanted: bytes) -> bool:
        return ask(server.port, [wanted], clients=1, n=1).statuses == {200: 1}

    return [place for place in range(n) if all(is_answered(server, wanted[place]) for server, wanted in servers.values())]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and those it started in MB; what they share counts in each."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def add_rows(results: Results, clients: int, found: Mapping[str, list[Answers]]) -> None:
    """Add what was found with a number of clients: ours beside each peer, and the table's line."""
    own = together(found["facesearch"])
    least, median, most = spread(found["facesearch"])
    results.tables.append(f"verify, {clients} clients, facesearch: {own.said()}; rounds {least:.1f} to {most:.1f}/s")
    peers = [name for name in found if name.startswith("deepface")]
    fastest = max(peers, key=lambda name: spread(found[name])[1], default="")
    for name in peers:
        rate = spread(found[name])[1]
        results.tables.append(f"verify, {clients} clients, {name}: {together(found[name]).said()}")
        if rate:
            row = {"work": f"POST verify, two 250×250 photographs, {clients} clients", "peer": name}
            times = {"ours_ms": round(1000 / median, 2), "peer_ms": round(1000 / rate, 2), "ratio": round(median / rate, 2)}
            goal = GOAL_RATIO if clients == GOAL_AT and name == fastest else None
            note = f"ms a request at full load; ours {own.said()}; peer {together(found[name]).said()}"
            results.rows.append({**row, **times, "goal": goal, "note": note})
            print(f"{row['work']}: {times['ratio']:.2f}× {name}; {note}", flush=True)


def measure_start(results: Results, home: Path, wanted: bytes, rounds: int) -> None:
    """Add how long a start takes."""
    health, verify = start_times(home, wanted, rounds)
    for what, seconds in (("first 200 of /healthz", health), ("first answer of verify", verify)):
        note = f"median of {len(seconds)} starts, {min(seconds):.2f} to {max(seconds):.2f} s, warm caches"
        work = f"`facesearch serve`, process start to {what}"
        results.add_value(work, round(statistics.median(seconds), 2), "s", goal=GOAL_START_S, note=note)


def measure_verify(results: Results, server: Server, chosen: Sequence[tuple[bytes, bytes]], given: argparse.Namespace) -> None:
    """Add rates of verify beside the peers'."""
    with ExitStack() as stack:
        servers = {"facesearch": (server, our_requests(given.key, chosen)[0])}
        if given.gunicorn:
            prepared_deepface()
        for workers in given.gunicorn:
            peer = stack.enter_context(running(*deepface(workers), "/"))
            for model in DEEPFACE:
                servers[f"deepface {model}, gunicorn {workers}"] = (peer, deepface_requests(model, chosen))
        kept = usable(servers, len(chosen))
        results.tables.append(f"{len(kept)} of {len(chosen)} pairs of LFW's View 1 are answered by every server")
        asked = {name: (one, [wanted[place] for place in kept]) for name, (one, wanted) in servers.items()}
        for clients in given.clients:
            slow = {name for name in asked for model, own in DEEPFACE.items() if f" {model}," in name and clients not in own}
            now = {name: server for name, server in asked.items() if name not in slow}
            add_rows(results, clients, measured(now, clients, given.rounds, given.seconds))


def measure_identify(results: Results, server: Server, wanted: list[bytes], given: argparse.Namespace) -> None:
    """Add rates of identify."""
    for clients in given.clients:
        found = together(measured({"facesearch": (server, wanted)}, clients, given.rounds, given.seconds)["facesearch"])
        work = f"POST identify among {given.n_enrolled} people, 250×250, {clients} clients"
        results.add_value(work, round(found.rate, 1), "requests/s", better="higher", note=found.said())


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FACESEARCH_DATA", "../shared/data")))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--gunicorn", type=int, nargs="*", default=(1, 2), help="workers of the peer's servers; none leaves it out")
    parser.add_argument("--only", choices=("start", "verify", "identify"), nargs="+", default=("start", "verify", "identify"))
    parser.add_argument("--workers", type=int, default=2, help="processes of ours")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = arguments()
    results = Results("service")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        given.key, given.n_enrolled = enrolled(home, given.data / "lfw")
        chosen = pairs(given.data / "lfw")
        verify, identify = our_requests(given.key, chosen)
        if "start" in given.only:
            measure_start(results, home, verify[0], given.rounds)
        with running(*ours(home, "--workers", str(given.workers)), "/readyz") as server:
            if "verify" in given.only:
                measure_verify(results, server, chosen, given)
            if "identify" in given.only:
                measure_identify(results, server, identify, given)
            results.tables.append(f"memory of facesearch's {given.workers} processes at the end: {resident_mb(server.pid):.0f} MB")
    results.versions = package_versions(PEERS, ["deepface", "tensorflow", "flask", "gunicorn"])
    results.write(given.json)


if __name__ == "__main__":
    main()
