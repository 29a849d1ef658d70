"""Compiles the package's libraries (the detector's and the gallery's) while the package is built or installed.

Plain calls of a C++ compiler (GCC 9, Clang 10 or newer; ``CXX`` names another one), no Python headers. Where there is no compiler,
or it fails, the installation goes on with a warning: the detector runs on the engine and large galleries are searched by hnswlib,
the same results several times slower. A library holds code for several instruction sets and chooses when it is loaded, so what is
built here runs elsewhere.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-pthread"]
KERNEL_FLAGS = ["-fno-exceptions", "-fno-rtti", "-ffp-contract=fast"]
MAIN_FLAGS = ["-ffp-contract=off"]  # suppression rounds as NumPy does

Sets = dict[str, tuple[int, int, list[str]]]
"""Instruction sets by name: floats a vector, registers, and what tells the compiler."""


class Library(NamedTuple):
    """A library of the package. No dataclass: hatchling runs this file without registering it as a module.

    Attributes:
        folder: Where its sources are and the library goes.
        kernel: Source that is compiled once for each instruction set.
        main: Source that chooses among them.
        x86: Instruction sets beside the baseline on x86-64.
    """

    folder: Path
    kernel: str
    main: str
    x86: Sets

    @property
    def path(self) -> Path:
        """The library, relative to the project."""
        return self.folder / Path(self.main).with_suffix(".so")


LIBRARIES = (
    Library(
        Path("facesearch", "detection", "native"),
        "kernels.cpp",
        "cascade.cpp",
        {
            "Avx2": (8, 16, ["-mavx2", "-mfma"]),
            "Avx512": (16, 32, ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]),
        },
    ),
    Library(
        Path("facesearch", "gallery", "native"),
        "kernel.cpp",
        "beam.cpp",
        {"Avx2": (8, 16, ["-mavx2"]), "Avx512": (16, 32, ["-mavx512f", "-mavx512bw", "-mavx512vnni"])},
    ),
)


def compiler() -> list[str] | None:
    """Return the command of the C++ compiler, or None where there is none."""
    named = os.environ.get("CXX")
    candidates = [shlex.split(named)] if named else [["c++"], ["g++"], ["clang++"]]
    return next((command for command in candidates if command and shutil.which(command[0])), None)


def commands(library: Library, compile_with: list[str], root: Path, folder: Path) -> tuple[list[list[str]], list[str]]:
    """Return the compiler's calls, which may run side by side, and the linker's, which leaves the library in ``folder``."""
    machine = platform.machine().lower()
    is_x86 = machine in {"x86_64", "amd64"}
    sets: Sets = {"Baseline": (4, 32 if machine in {"aarch64", "arm64"} else 16, [])} | (library.x86 if is_x86 else {})
    stem = library.path.stem
    calls = []
    for name, (lanes, registers, flags) in sets.items():
        defined = [
            f"-DFS_LANES={lanes}",
            f"-DFS_REGISTERS={registers}",
            f"-DFS_TABLE=k{name}",
            f'-DFS_NAME="{name.lower()}"',
        ]
        source, made = root / library.folder / library.kernel, folder / f"{stem}-{name}.o"
        calls.append([*compile_with, *FLAGS, *KERNEL_FLAGS, *flags, *defined, "-c", str(source), "-o", str(made)])
    choice = ["-DFS_WITH_X86"] if is_x86 else []
    main = root / library.folder / library.main
    calls.append([*compile_with, *FLAGS, *MAIN_FLAGS, *choice, "-c", str(main), "-o", str(folder / f"{stem}-main.o")])
    objects = [call[-1] for call in calls]
    return calls, [*compile_with, "-shared", "-pthread", *objects, "-o", str(folder / library.path.name)]


def compiled(library: Library, root: Path, folder: Path) -> Path:
    """Compile a library into a folder and return where it is.

    Raises:
        OSError: There is no compiler.
        subprocess.CalledProcessError: It failed; ``stderr`` says why.
    """
    compile_with = compiler()
    if compile_with is None:
        raise OSError(f"no C++ compiler {os.environ.get('CXX', 'c++, g++ or clang++')} was found")
    calls, link = commands(library, compile_with, root, folder)
    # The command is the installing user's own CXX, or a compiler of the system.
    running = [subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for call in calls]  # noqa: S603
    said = [process.communicate()[1] for process in running]
    for process, call, complaint in zip(running, calls, said, strict=True):
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, call, stderr=complaint)
    subprocess.run(link, check=True, capture_output=True, text=True)  # noqa: S603
    return folder / library.path.name


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled libraries to wheels, and puts them beside their sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is put together.

        Args:
            version: ``"standard"`` or ``"editable"``.
            build_data: What hatchling is told about the wheel.
        """
        root = Path(self.root)
        self._folder = tempfile.TemporaryDirectory(prefix="facesearch-build-")
        try:
            made = {library.path: compiled(library, root, Path(self._folder.name)) for library in LIBRARIES}
        except (OSError, subprocess.CalledProcessError) as exc:
            reason = (getattr(exc, "stderr", None) or str(exc)).strip().splitlines()
            self.app.display_warning(
                f"the package's libraries were not compiled ({reason[0] if reason else exc}): facesearch works all the same, but "
                "finds faces and searches large galleries several times slower; install a C++ compiler and install again"
            )
            return
        if version == "editable":
            for place, library in made.items():
                # Moved in one step: a process that has the old one loaded keeps it.
                beside = root / place.with_suffix(".new")
                shutil.copyfile(library, beside)
                beside.replace(root / place)
        else:
            build_data["force_include"].update({str(library): place.as_posix() for place, library in made.items()})
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled once the wheel is written."""
        self._folder.cleanup()
