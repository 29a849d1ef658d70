"""What users import exists, is documented and typed."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import facesearch

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_of_public_names_is_sorted_and_complete() -> None:
    assert len(facesearch.__all__) >= 16
    assert list(facesearch.__all__) == sorted(facesearch.__all__)
    assert set(facesearch.__all__) == {*facesearch._HOMES, "__version__"}


@pytest.mark.parametrize("name", facesearch.__all__)
def test_a_public_name_resolves_to_its_home(name: str) -> None:
    value = getattr(facesearch, name)
    if name == "__version__":
        assert isinstance(value, str)
        return
    assert value is getattr(importlib.import_module(facesearch._HOMES[name]), name)
    assert inspect.getdoc(value), f"{name} has no docstring"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'recognise'"):
        facesearch.recognise  # noqa: B018 - looking it up is the act


def test_every_method_of_the_facade_is_documented_and_typed() -> None:
    methods = [
        (name, member)
        for name, member in inspect.getmembers(facesearch.FaceSearch)
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    ]
    assert len(methods) >= 24
    for name, member in methods:
        function = member.fget if isinstance(member, property) else member
        assert inspect.getdoc(member), f"FaceSearch.{name} has no docstring"
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, f"FaceSearch.{name} does not say what it returns"
        positional = [one for one in signature.parameters.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        assert len(positional) - 1 <= 5, f"FaceSearch.{name} takes {len(positional) - 1} positional parameters"


def test_every_setting_is_described() -> None:
    fields = facesearch.Settings.model_fields
    assert len(fields) >= 25
    assert [name for name, field in fields.items() if not field.description] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "facesearch" / "py.typed").is_file()


LISTS = {  # nothing but classes of three lines each, or written by facesearch.api.generate_client
    "facesearch/core/errors.py",
    "facesearch/client/async_client.py",
    "facesearch/client/client.py",
    "facesearch/client/errors.py",
    "facesearch/client/models.py",
}


def test_modules_are_of_a_readable_size() -> None:
    files = sorted((ROOT / "facesearch").rglob("*.py"))
    assert len(files) > 50
    too_long = {
        name: lines
        for file in files
        if (name := file.relative_to(ROOT).as_posix()) not in LISTS and (lines := len(file.read_text("utf-8").splitlines())) > 400
    }
    assert too_long == {}, "the house plan asks for 80 to 350 lines a module"
