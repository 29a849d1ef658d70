"""Lists of pairs and attributes: what is missing or contradictory is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.errors import InputError, ProtocolFileError
from facesearch.service.photograph_lists import (
    checked_people,
    overlap_warning,
    read_any_folder,
    read_attributes,
    read_folder,
    read_names,
    read_pairs_csv,
)


@pytest.fixture
def table(tmp_path):
    def write(text, name="list.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_pairs_are_read_with_their_people(table, tmp_path):
    path = table("a,b,same\nx/1.jpg,x/2.jpg,1\nx/2.jpg,./x/3.jpg,TRUE\nx/1.jpg,y/1.jpg,different\ny/1.jpg,x/1.jpg,0\n")
    listed = read_pairs_csv(path)
    assert listed.root == tmp_path
    assert [pair.is_mated for pair in listed.pairs] == [True, True, False]
    assert listed.n_repeated == 1
    one, two, three, other = (Path(name) for name in ("x/1.jpg", "x/2.jpg", "x/3.jpg", "y/1.jpg"))
    assert listed.people[one] == listed.people[two] == listed.people[three] != listed.people[other]
    assert listed.n_contradictions == 0


def test_pairs_that_contradict_others_are_counted(table):
    listed = read_pairs_csv(table("a,b,same\n1.jpg,2.jpg,1\n2.jpg,3.jpg,1\n1.jpg,3.jpg,0\n"))
    assert listed.n_contradictions == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1.jpg,2.jpg\n", "lacks the column same"),
        ("first,second,same\n", "lacks the column a and b"),
        ("a,b,same\n", "a header and no rows"),
        ("", "lacks the column"),
        ("a,b,same\n1.jpg,2.jpg,maybe\n", "line 2: same is 'maybe'"),
        ("a,b,same\n1.jpg,,1\n", "line 2: a or b is empty"),
        ("a,b,same\n1.jpg,x/../1.jpg,1\n", "line 2: pairs 1.jpg with itself"),
        ("a,b,same\n1.jpg,2.jpg,1\n2.jpg,1.jpg,0\n", "line 3: 2.jpg and 1.jpg are called the same person"),
        ("a,b,same\n1.jpg,2.jpg,1,5\n", "line 2: has more cells"),
        (b"a,b,same\n\xff.jpg,2.jpg,1\n", "no UTF-8 CSV"),
    ],
)
def test_malformed_lists_are_named(table, text, said):
    with pytest.raises(ProtocolFileError, match=r"list\.csv") as caught:
        read_pairs_csv(table(text))
    assert said in caught.value.message


def test_a_list_of_one_kind_is_refused(table):
    with pytest.raises(InputError, match="0 pairs of the same person and 1 of two people"):
        read_pairs_csv(table("a,b,same\n1.jpg,2.jpg,0\n"))


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ProtocolFileError, match="cannot be read"):
        read_pairs_csv(tmp_path / "none.csv")


def test_people_too_few_are_said(tmp_path):
    with pytest.raises(InputError, match="of one person"):
        checked_people(["Ada", "Ada"], "x")
    with pytest.raises(InputError, match="2 people, one each"):
        checked_people(["Ada", "Bob"], "x")
    checked_people(["Ada", "Ada", "Bob"], "x")


def test_a_folder_is_listed_by_label(tmp_path):
    for name in ("Ada/1.jpg", "Ada/2.jpg", "Bob/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = read_folder(tmp_path)
    assert dict(listed.labels) == {Path("Ada/1.jpg"): "Ada", Path("Ada/2.jpg"): "Ada", Path("Bob/1.jpg"): "Bob"}
    assert listed.n_people == 2
    (tmp_path / "Bob/1.jpg").unlink()
    with pytest.raises(InputError, match="of one person"):
        read_folder(tmp_path)
    assert len(read_any_folder(tmp_path).labels) == 2


def test_attributes_are_of_files_before_labels(table):
    found = read_attributes(table("file,label,light\nAda/1.jpg,,dark\n, Ada ,bright\n,Bob,\n"), "light")
    assert found.of(Path("Ada/1.jpg"), "Ada") == "dark"
    assert found.of(Path("Ada/2.jpg"), "Ada") == "bright"
    assert found.of(Path("Bob/1.jpg"), "Bob") is None
    assert found.of(Path("Eve/1.jpg"), "Eve") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,age\nAda,30\n", "lacks the column light; it has label, age"),
        ("light\nday\n", "lacks a column file or label"),
        ("label,light\nAda,day\nAda,night\n", "line 3: Ada is called 'day' in one line and 'night'"),
        ("label,light\n,day\n", "line 2: file or label is empty"),
    ],
)
def test_malformed_attributes_are_named(table, text, said):
    with pytest.raises(ProtocolFileError) as caught:
        read_attributes(table(text), "light")
    assert said in caught.value.message


def test_people_whose_labels_are_numbers_are_trained_on_too(table):
    assert read_names(table("0000045\n0000099\n", "people.txt")) == {"0000045", "0000099"}


def test_people_trained_on_are_warned_of(table):
    names = read_names(table("2\n1\nAda Lovelace\t3\n1\nBob\n\n", "people.txt"))
    assert names == {"Ada Lovelace", "Bob"}
    assert overlap_warning(frozenset({"Eve"}), names) is None
    warning = overlap_warning(frozenset({"Eve", "Bob"}), names)
    assert "1 of 2 people" in warning
    assert "Bob" in warning
