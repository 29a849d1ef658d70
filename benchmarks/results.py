"""Runs the parts of ``make bench`` and writes RESULTS.md from what they measured.

Usage::

    python -m benchmarks.results run [PART ...]      run all parts, or some, then write RESULTS.md
    python -m benchmarks.results render              write RESULTS.md from what was measured before

Each part writes ``.bench/results/PART.json`` (``benchmarks.side_by_side`` says what is in it) and can be run again alone. It
measures nothing itself and leaves nothing out: a part or a peer that is missing is named, and so is every goal that was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.own_forms import in_one_form
from benchmarks.peers_env import STATUS
from benchmarks.side_by_side import PEERS, ROOT, package_versions
from facesearch.version import __version__

MEASURED = ROOT / ".bench" / "results"
PAGE = ROOT / "benchmarks" / "RESULTS.md"
AVX2_SHARE = 2.0 / 3.0
"""What of a ratio's goal is asked for where the processor has AVX2 but no AVX-512 with bf16."""

OURS = ("openvino", "numpy", "opencv-python", "torch", "hnswlib")


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark.

    Attributes:
        title: Heading of its section.
        arguments: Of its script, beside ``--json FILE``.
        minutes: About how long it takes on two quiet cores, everything kept from an earlier run.
        first: What the first run takes longer for.
    """

    title: str
    module: str
    arguments: tuple[str, ...] = ()
    minutes: float = 1.0
    first: str = ""


PARTS = {
    "detector": Part("MTCNN", "detector_speed", ("--peer-python", "{peers}"), minutes=5),
    "embedder": Part("Embedding", "embedder_speed", minutes=3),
    "folder": Part("Folder to enrolled templates, and memory", "folder", ("--images", "{data}/lfw/images"), minutes=6),
    "folder_peers": Part("Folder beside peers", "folder_peers", minutes=5),
    "video": Part("Video", "video", minutes=3),
    "service": Part("The service beside deepface's", "service", minutes=7),
    "cold_start": Part("Cold start", "cold_start", minutes=2),
    "million": Part("A gallery of a million templates", "million", minutes=3, first="20 to 40 minutes to build two graphs"),
    "peers": Part("Recognition beside peers", "peers", minutes=6),
    "robustness": Part("Robustness", "robustness", minutes=2, first="10 to 60 minutes to spoil and embed LFW's photographs"),
    "index": Part("Index parameters", "index", ("--n", "50000", "--probes", "500"), minutes=6),
}


def run(names: list[str]) -> list[str]:
    """Run parts; return the names of those that failed."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        part = PARTS[name]
        first = f", the first time {part.first}" if part.first else ""
        print(f"==> {name}: about {part.minutes:g} min{first}", flush=True)
        began = time.perf_counter()
        data = os.environ.get("FACESEARCH_DATA", str(ROOT.parent / "shared" / "data"))
        arguments = [argument.format(data=data, peers=PEERS) for argument in part.arguments]
        written = MEASURED / f"{name}.json"
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{part.module}", *arguments, "--json", str(written)],
            cwd=ROOT,
            env={**os.environ, "FACESEARCH_DATA": data},
            check=False,
        )
        if done.returncode != 0:
            failed.append(name)
        elif written.exists():
            command = " ".join(["python -m", f"benchmarks.{part.module}", *part.arguments]).format(data="DATA", peers="PEERS")
            date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
            held = in_one_form(name, json.loads(written.read_text()), command, time.perf_counter() - began, date)
            written.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")
        print(f"==> {name}: {'done' if done.returncode == 0 else 'FAILED'} in {time.perf_counter() - began:.0f} s", flush=True)
    return failed


def share_asked(machine: dict[str, Any]) -> tuple[float, str]:
    """Return the share of each ratio's goal that holds for a processor, and why."""
    flags = set(machine["flags"])
    if {"avx512f", "avx512_bf16"} <= flags:
        return 1.0, "AVX-512 with bf16: the goals hold in full"
    return AVX2_SHARE, "no AVX-512 with bf16: two thirds of each ratio are the goal"


def verdict(row: dict[str, Any], share: float) -> str:
    """Return whether a row's goal was met, and by how much it was missed."""
    goal = row.get("goal")
    if goal is None:
        return ""
    if "ratio" in row:
        got, goal = float(row["ratio"]), float(goal) * share
        return "met" if got >= goal else f"**missed** by {goal - got:.2f}× ({100 * (1 - got / goal):.0f} %)"
    got, goal = float(row["value"]), float(goal)
    is_met = got <= goal if row.get("better", "lower") == "lower" else got >= goal
    return "met" if is_met else f"**missed** by {abs(got - goal):.4g} {row['unit']}"


def cells(row: dict[str, Any], share: float) -> list[str]:
    """Return a row of the table: work, peer, ours, peer's, what was found, goal, verdict, note."""
    goal = row.get("goal")
    if "ratio" in row:
        found, asked = f"**{row['ratio']:.2f}×**", "" if goal is None else f"≥ {float(goal) * share:.3g}×"
        times = [f"{row['ours_ms']:.3g} ms", f"{row['peer_ms']:.4g} ms"]
    else:
        sign = "≤" if row.get("better", "lower") == "lower" else "≥"
        found, asked = f"**{row['value']:g}** {row['unit']}", "" if goal is None else f"{sign} {goal:g} {row['unit']}"
        times = ["", ""]
    return [row["work"], row.get("peer") or "–", *times, found, asked, verdict(row, share), row.get("note") or ""]


def section(name: str, part: Part, share: float) -> tuple[list[str], list[str]]:
    """Return the lines of a part's section, and one line for each goal of it."""
    path = MEASURED / f"{name}.json"
    lines = [f"## {part.title}", ""]
    if not path.exists():
        return [*lines, f"Not measured on this machine: `make bench PARTS={name}`.", ""], [f"| {part.title} | not measured | | |"]
    held = json.loads(path.read_text())
    lines += [f"`{held['command']}`, {held['seconds']:.0f} s, {held['date']}.", ""]
    heads = ["work", "peer", "ours", "peer's", "found", "goal", "", "note"]
    goals = []
    if held["rows"]:
        lines += [_line(heads), _line(["---"] * len(heads))]
    for row in held["rows"]:
        row_cells = cells(row, share)
        lines.append(_line(row_cells))
        if row.get("goal") is not None:
            goals.append(_line([f"{row_cells[0]} ({row_cells[1]})", row_cells[4], row_cells[5], row_cells[6]]))
    for table in held.get("tables", []):
        lines += ["", table]
    return [*lines, ""], goals


def page() -> str:
    """Return RESULTS.md."""
    measured = {name: json.loads(path.read_text()) for name in PARTS if (path := MEASURED / f"{name}.json").exists()}
    if not measured:
        raise SystemExit("nothing was measured yet: make bench")
    machine = max(measured.values(), key=lambda held: held["date"])["machine"]
    share, why = share_asked(machine)
    versions = package_versions(Path(sys.executable), OURS)
    peers = json.loads(STATUS.read_text()) if STATUS.exists() else {"peers": {}, "versions": {}}
    sections, goals = [], []
    for name, part in PARTS.items():
        lines, lines_of_goals = section(name, part, share)
        sections += lines
        goals += lines_of_goals
    others = {name: held for name, held in measured.items() if held["machine"] != machine}
    head = [
        "# Measured side by side",
        "",
        "Written by `make bench` (`benchmarks/results.py`); nothing here is typed by hand. Both sides of a ratio ran in the same",
        "run, in processes of their own, in turns, with two threads each; above 1 ours is faster.",
        "",
        f"- {_described(machine)}.",
        f"- {why}.",
        f"- Ours: {_listed({'facesearch': __version__, **versions})}.",
        f"- Peers: {_listed(peers['versions']) or 'no environment was made'}.",
        *(f"- **Missing peer** {name}: {found['reason']}" for name, found in peers["peers"].items() if not found["ok"]),
        *(
            f"- Part {name} was measured on another machine or system: {_described(held['machine'])}."
            for name, held in others.items()
        ),
        "",
        "## Goals",
        "",
        _line(["work (peer)", "found", "goal", ""]),
        _line(["---"] * 4),
        *goals,
        "",
    ]
    return "\n".join([*head, *sections]).rstrip() + "\n"


def _line(row: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def _described(machine: dict[str, Any]) -> str:
    processor = f"{machine['processor']} (family/model {machine['family']}; {', '.join(machine['flags'])})"
    return f"{processor}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def main() -> None:
    """Run what was asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "render"))
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none for all")
    given = parser.parse_args()
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        raise SystemExit(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed = run(given.parts or list(PARTS)) if given.action == "run" else []
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
