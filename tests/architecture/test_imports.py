"""Who may import whom, and what a plain `import facesearch` may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "facesearch"
HEAVY = (
    "torch",
    "torchvision",
    "openvino",
    "cv2",
    "sqlalchemy",
    "alembic",
    "PIL",
    "hnswlib",
    "pydantic",
    "typer",
    "rich",
    "safetensors",
)


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after running `code` in this checkout."""
    report = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}; print(' '.join(sorted({{n.split('.')[0] for n in sys.modules}})))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", report], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        pytest.param("import facesearch", set(), id="package"),
        pytest.param("from facesearch import FaceSearchError, Verification, compare", set(), id="core names"),
        pytest.param("from facesearch import Settings", {"pydantic"}, id="settings"),
    ],
)
def test_importing_loads_nothing_heavy(code: str, allowed: set[str]) -> None:
    loaded = loaded_by(code)
    assert "facesearch" in loaded
    assert loaded & set(HEAVY) == allowed


def test_the_core_loads_numpy_and_the_standard_library_only() -> None:
    modules = sorted(path.stem for path in (PACKAGE / "core").glob("*.py") if path.stem != "__init__")
    assert len(modules) >= 8
    imports = "; ".join(f"import facesearch.core.{name}" for name in modules)
    # The interpreter's own start-up (site-packages' .pth files) may load packages too: they are not the core's doing.
    brought_in = loaded_by(imports) - loaded_by("pass") - set(sys.stdlib_module_names)
    assert brought_in == {"facesearch", "numpy"}


def imported_modules(tree: ast.AST) -> set[str]:
    """Return the modules named by import statements, at any depth."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def top_level_imports(tree: ast.Module) -> set[str]:
    """Return the modules imported when the module is, without those for type checkers."""
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]
    return imported_modules(ast.Module([node for node in kept if isinstance(node, ast.Import | ast.ImportFrom)], []))


# Where torch may be imported at the top: modules that describe torch networks, themselves imported only when torch is wanted.
TORCH_AT_THE_TOP = {
    "embedding/backbones/dlib_resnet.py",
    "embedding/backbones/mobilenet.py",
    "embedding/backbones/stages.py",
    "embedding/embedding_network.py",
    "embedding/heads.py",
    "embedding/prepared.py",
    "detection/networks.py",
    # Training is torch: these are imported by the training commands alone.
    "training/checkpoint.py",
    "training/class_head.py",
    "training/distributed.py",
    "training/frozen_prelu.py",
    "training/losses.py",
    "training/miners.py",
    "training/norms.py",
    "training/objective.py",
    "training/optimiser.py",
    "training/run_facts.py",
    "training/session.py",
    "training/starting.py",
    "training/trainer.py",
    "training/validation.py",
}


def test_torch_and_openvino_are_imported_late() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        name = file.relative_to(PACKAGE).as_posix()
        top = {module.split(".")[0] for module in top_level_imports(ast.parse(file.read_text(encoding="utf-8")))}
        assert "openvino" not in top, f"{name} imports openvino when it is imported"
        assert "torch" not in top or name in TORCH_AT_THE_TOP, f"{name} imports torch when it is imported"


def test_openvino_is_imported_in_one_place() -> None:
    # Only there its telemetry is switched off first.
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    importing = {
        file.relative_to(PACKAGE).as_posix()
        for file in files
        if any(module.split(".")[0] == "openvino" for module in imported_modules(ast.parse(file.read_text(encoding="utf-8"))))
    }
    assert importing <= {"inference/openvino_library.py"}


# FaceNet's architecture is facenet-pytorch's own class, imported when somebody's file of its weights is converted, with torch.
FACENET_WHEN_BUILT = {"embedding/backbones/__init__.py"}


def test_facenet_pytorch_is_imported_for_its_own_network_only() -> None:
    # The detector's weights are read from its folder; importing it would load torch, and it pins old releases.
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        is_allowed = file.relative_to(PACKAGE).as_posix() in FACENET_WHEN_BUILT
        imported = top_level_imports(tree) if is_allowed else imported_modules(tree)
        assert "facenet_pytorch" not in {module.split(".")[0] for module in imported}


def test_rooms_import_downwards_only() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.is_file():
        pytest.fail("import-linter is missing: pip install -e .[dev]")
    run = subprocess.run([tool, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout
    assert " 0 kept" not in run.stdout
