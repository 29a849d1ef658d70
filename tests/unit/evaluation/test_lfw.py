from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import ProtocolFileError
from facesearch.evaluation.lfw import LfwPair, LfwPerson, image_path, read_pairs, read_people

VIEW_2 = "2\t1\nAnn_A\t1\t4\nAnn_A\t2\tBob_B\t1\nCarl_C\t3\t1\nBob_B\t1\tCarl_C\t2\n"
VIEW_1 = "2\nAnn_A\t1\t4\nCarl_C\t3\t1\nAnn_A\t2\tBob_B\t1\nBob_B\t1\tCarl_C\t2\n"


@pytest.fixture
def write(tmp_path):
    def written(content, name="pairs.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def test_view_2_alternates_mated_and_non_mated_by_fold(write):
    pairs = read_pairs(write(VIEW_2))
    assert pairs == (
        LfwPair("Ann_A", 1, "Ann_A", 4, 0),
        LfwPair("Ann_A", 2, "Bob_B", 1, 0),
        LfwPair("Carl_C", 3, "Carl_C", 1, 1),
        LfwPair("Bob_B", 1, "Carl_C", 2, 1),
    )
    assert [pair.is_mated for pair in pairs] == [True, False, True, False]
    assert pairs[1].paths == (Path("Ann_A/Ann_A_0002.jpg"), Path("Bob_B/Bob_B_0001.jpg"))


def test_view_1_lists_all_mated_pairs_first(write):
    pairs = read_pairs(write(VIEW_1))
    assert [(pair.is_mated, pair.fold) for pair in pairs] == [(True, 0), (True, 0), (False, 0), (False, 0)]


@pytest.mark.parametrize(
    "change",
    [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text, lambda text: text.replace("\t", "  ") + "\n\n"],
)
def test_copies_of_the_files_with_other_line_ends_marks_and_blanks(write, change):
    assert read_pairs(write(change(VIEW_2))) == read_pairs(write(VIEW_2))


def test_people_of_both_views(write):
    ann, bob = LfwPerson("Ann_A", 4, 0), LfwPerson("Bob_B", 1, 0)
    assert read_people(write("2\nAnn_A\t4\nBob_B\t1\n")) == (ann, bob)
    assert read_people(write("2\n1\nAnn_A\t4\n1\nBob_B\t1\n")) == (ann, LfwPerson("Bob_B", 1, 1))
    assert ann.paths[-1] == Path("Ann_A/Ann_A_0004.jpg")
    assert len(ann.paths) == 4


def test_numbers_past_four_digits_are_not_cut():
    assert image_path("Ann_A", 12345) == Path("Ann_A/Ann_A_12345.jpg")


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "one or two numbers"),
        ("1\t2\t3\n", 1, "one or two numbers"),
        ("ten\n", 1, "'ten' is not a whole number"),
        ("0\n", 1, "'0' is not a whole number"),
        ("²\n", 1, "is not a whole number"),
        (VIEW_2.replace("Ann_A\t1\t4", "Ann_A\t1"), 2, "three fields, not 2"),
        (VIEW_2.replace("Ann_A\t1\t4", "Ann_A\t1\t-4"), 2, "'-4' is not"),
        (VIEW_2.replace("Ann_A\t1\t4", "Ann_A\t4\t4"), 2, "with itself"),
        (VIEW_2.replace("Ann_A\t2\tBob_B\t1", "Ann_A\t2\t3"), 3, "four fields, not 3"),
        (VIEW_2.replace("Ann_A\t2\tBob_B\t1", "Ann_A\t2\tAnn_A\t1"), 3, "same person"),
        (VIEW_2.replace("Carl_C\t3\t1", "../etc/passwd\t3\t1"), 4, "not the name of a folder"),
        (VIEW_2.replace("Carl_C\t3\t1", "..\t3\t1"), 4, "not the name of a folder"),
        (VIEW_2.rsplit("\n", 2)[0], 5, "the file ends"),
        (VIEW_2 + "Ann_A\t1\t2\n", 6, "goes on after"),
    ],
)
def test_malformed_pairs_name_file_and_line(write, content, line, problem):
    path = write(content)
    with pytest.raises(ProtocolFileError, match=problem) as caught:
        read_pairs(path)
    assert f"{path}, line {line}:" in caught.value.message
    assert caught.value.context["line"] == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("2 3\n", 1),
        ("1\nAnn_A\n", 2),
        ("2\nAnn_A\t4\n", 3),
        ("1\n1 x\nAnn_A\t4", 2),
        ("1\n2\nAnn_A\t4\n", 4),
        ("1\nAnn_A\t4\tx\n", 2),
    ],
)
def test_malformed_people_name_file_and_line(write, content, line):
    with pytest.raises(ProtocolFileError) as caught:
        read_people(write(content))
    assert caught.value.context["line"] == line


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(ProtocolFileError, match="cannot be read"):
        read_pairs(tmp_path / "absent.txt")
    with pytest.raises(ProtocolFileError, match="cannot be read"):
        read_people(tmp_path)
    with pytest.raises(ProtocolFileError, match="not UTF-8"):
        read_pairs(write(b"\xff\xd8\xff\xe0 a photograph"))
    huge = write(b"")
    with huge.open("wb") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(ProtocolFileError, match="larger than"):
        read_pairs(huge)


@settings(deadline=None)  # a busy disk is no failure
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    for read in (read_pairs, read_people):
        # Nothing but the house's error leaves it.
        with contextlib.suppress(ProtocolFileError):
            assert read(path)


@pytest.mark.data
def test_lfws_own_files(lfw_folder):
    view2 = read_pairs(lfw_folder / "pairs.txt")
    assert len(view2) == 6000
    for fold in range(10):
        assert sum(pair.is_mated for pair in view2 if pair.fold == fold) == 300
        assert sum(not pair.is_mated for pair in view2 if pair.fold == fold) == 300
    assert all((lfw_folder / "images" / path).is_file() for pair in view2 for path in pair.paths)
    assert len(read_pairs(lfw_folder / "pairsDevTrain.txt")) == 2200
    assert len(read_pairs(lfw_folder / "pairsDevTest.txt")) == 1000
    people = read_people(lfw_folder / "people.txt")
    assert (len(people), sum(person.n_images for person in people)) == (5749, 13233)
    assert [len(read_people(lfw_folder / f"peopleDev{part}.txt")) for part in ("Train", "Test")] == [4038, 1711]
