"""Every error of the house has a code, an exit status and an HTTP status, and every room raises nothing else on purpose."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path

import pytest

from facesearch.core import errors
from facesearch.core.errors import FaceSearchError

PACKAGE = Path(errors.__file__).resolve().parents[1]

BRANCHES = {  # class: (exit status, HTTP status), as the house plan's section 6 has them
    errors.InputError: (2, 422),
    errors.EnrollmentError: (3, 409),
    errors.TemplateError: (3, 409),
    errors.GalleryError: (4, 503),
    errors.ModelError: (5, 503),
    errors.StoreError: (6, 503),
    errors.AccessError: (7, 403),
    errors.ServiceError: (8, 503),
    errors.SettingsError: (2, 500),
}
OWN_STATUS = {
    errors.ImageTooLargeError: 413,
    errors.UnknownIdentityError: 404,
    errors.UnknownCollectionError: 404,
    errors.UnknownFeedbackError: 404,
    errors.UnknownVideoError: 404,
    errors.BodyTooLargeError: 413,
    errors.UnsupportedMediaTypeError: 415,
    errors.UnknownTemplateError: 404,
    errors.UnknownJobError: 404,
    errors.PreconditionFailedError: 412,
    errors.UnauthorizedError: 401,
    errors.RateLimitedError: 429,
    errors.UnknownKeyError: 404,
    errors.RequestTimeoutError: 504,
    errors.JobMemoryFullError: 429,
    errors.IdempotencyConflictError: 409,
    errors.TemplateFormatError: 500,
    errors.OperatingPointError: 422,
    errors.UncalibratedEmbedderError: 409,
    errors.SlowBodyError: 408,
}


def all_errors(cls: type[FaceSearchError] = FaceSearchError) -> list[type[FaceSearchError]]:
    """Return every class under `cls`, without itself, once each."""
    found = []
    for child in cls.__subclasses__():
        found += [child, *all_errors(child)]
    return [one for one in dict.fromkeys(found) if one.__module__ == errors.__name__]


ALL = all_errors()
LEAVES = [one for one in ALL if not one.__subclasses__()]


def test_the_tree_is_as_large_as_planned() -> None:
    assert len(ALL) >= 25
    assert len(LEAVES) >= 20
    assert set(FaceSearchError.__subclasses__()) == set(BRANCHES)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_has_its_own_code_and_the_statuses_of_its_branch(error: type[FaceSearchError]) -> None:
    assert "code" in vars(error), "an error without a code of its own cannot be told apart by programs"
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    branch = next(base for base in BRANCHES if issubclass(error, base))
    exit_code, status = BRANCHES[branch]
    assert error.exit_code == exit_code
    assert error.status == OWN_STATUS.get(error, status)
    assert error.__doc__
    assert error.__name__.endswith("Error")


def test_codes_are_unique() -> None:
    codes = [error.code for error in (FaceSearchError, *ALL)]
    assert len(codes) > 25
    assert len(set(codes)) == len(codes)


def test_exit_status_1_is_kept_for_no_match() -> None:
    assert {error.exit_code for error in (FaceSearchError, *ALL)} == {2, 3, 4, 5, 6, 7, 8, 70}


def test_an_error_carries_its_message_and_its_context() -> None:
    error = errors.NoFaceError("no face in cat.png", source="cat.png")
    assert str(error) == error.message == "no face in cat.png"
    assert error.context == {"source": "cat.png"}


# What Python itself may be asked to raise on purpose: wrong use of the library (as its docstrings say) and unreachable branches.
PYTHON_ERRORS = {"ValueError", "TypeError", "AttributeError", "NotImplementedError", "KeyError", "StopIteration"}
# A failed write of OpenVINO's, handed to the model cache, which treats it like any other failed write.
EXCEPTIONS = {"inference/openvino_engine.py": {"OSError"}}


def raised_names(tree: ast.AST) -> set[str]:
    """Return the names of the classes that `raise Name(…)` statements name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
    return found


def test_the_package_raises_errors_of_the_tree() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        raised = raised_names(ast.parse(file.read_text(encoding="utf-8")))
        name = file.relative_to(PACKAGE).as_posix()
        foreign = (
            {one for one in raised if isinstance(getattr(builtins, one, None), type)} - PYTHON_ERRORS - EXCEPTIONS.get(name, set())
        )
        assert not foreign, f"{name} raises {foreign}"


def test_validation_is_never_an_assertion() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        asserts = [node.lineno for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Assert)]
        assert not asserts, f"{file.relative_to(PACKAGE)}: assert in lines {asserts} vanishes under python -O"
