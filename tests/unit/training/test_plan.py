"""Plans, run folders and lists of people: everything that is told is checked before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from facesearch.core.errors import InputError, TrainingPlanError
from facesearch.training.augment import Augmentation
from facesearch.training.crop_store import CropStore
from facesearch.training.plan import TrainingPlan, parse_plan, read_plan
from facesearch.training.run_folder import WORSE, RunFolder
from facesearch.training.validation import of_list, read_names
from tests.crop_files import store_of_vectors

FACTS = {
    **dict.fromkeys(("start", "start_sha256", "sampler", "torch", "crops_digest", "rows_digest", "validation_digest"), "x"),
    **dict.fromkeys(("n_crops", "n_people", "n_validation_crops", "n_validation_people"), 3),
    "start_licence": "",
    "teachers": [],
    "teacher_licences": [],
    "architecture": {"backbone": "mobilenet"},
}


def test_a_plan_comes_back_from_its_values() -> None:
    plan = TrainingPlan(crops="c", teachers=("a", "b"), loss="arcface", steps=7, width=0.5, freeze_slopes=False)
    assert parse_plan(plan.as_dict(), where="test") == plan
    assert plan.changed() == {
        "crops": "c", "teachers": ["a", "b"], "loss": "arcface", "steps": 7, "width": 0.5, "freeze_slopes": False
    }  # fmt: skip


def test_a_file_is_read_and_options_count_where_both_speak(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('crops = "store"\nrate = 1\nloss = "cosface"\n', encoding="utf-8")
    plan = read_plan(path, {"rate": 0.5})
    assert (plan.crops, plan.rate, plan.loss, plan.drawn_by) == (str(tmp_path / "store"), 0.5, "cosface", "turn")
    assert isinstance(read_plan(path, {}).rate, float)


def test_a_length_in_epochs_replaces_one_in_steps(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('crops = "store"\nsteps = 500\n', encoding="utf-8")
    assert read_plan(path, {"rate": 0.5}).steps == 500
    assert (read_plan(path, {"epochs": 3}).steps, read_plan(path, {"epochs": 3}).epochs) == (None, 3.0)
    with pytest.raises(TrainingPlanError, match="say one of them"):
        read_plan(path, {"epochs": 3, "steps": 7})
    path.write_text('crops = "store"\nsteps = 500\nepochs = 2\n', encoding="utf-8")
    with pytest.raises(TrainingPlanError, match="say one of them"):
        read_plan(path, {})


def test_paths_in_a_file_are_its_folder_s_and_those_of_options_the_current_directory_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "plans", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    for named in (folder / "plain", elsewhere / "plain", folder / "own.pth", elsewhere / "own.pth"):
        named.write_bytes(b"")
    (folder / "plan.toml").write_text(
        'crops = "../crops"\ncleaned = "cleaned.json"\nvalidation = "/whole"\nstart = "own.pth"\n'
        'teachers = ["mobilenet-128", "nets/one.safetensors", "plain", "mobilenet-128@0123456789ab"]\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(elsewhere)
    plan = read_plan(Path("../plans/plan.toml"), {}).with_whole_paths()
    assert Path(plan.crops).resolve() == tmp_path / "crops"
    assert plan.validation == "/whole"
    assert [Path(str(one)).resolve() for one in (plan.cleaned, plan.start)] == [folder / "cleaned.json", folder / "own.pth"]
    assert plan.teachers[0] == "mobilenet-128"
    assert Path(plan.teachers[1]).resolve() == folder / "nets" / "one.safetensors"
    assert Path(plan.teachers[2]).resolve() == folder / "plain"
    assert plan.teachers[3] == "mobilenet-128@0123456789ab"

    told = read_plan(Path("../plans/plan.toml"), {"crops": "mine", "start": "own.pth", "cleaned": "list.json"}).with_whole_paths()
    assert (told.crops, told.cleaned, told.start) == tuple(str(elsewhere / name) for name in ("mine", "list.json", "own.pth"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "does not say crops"),
        ({"crops": "c", "rats": 1}, "unknown names rats"),
        ({"crops": "c", "rate": "fast"}, "the plan: rate: a value of type float is needed, not 'fast'"),
        ({"crops": "c", "steps": True}, "steps: a value of type int is needed, not True"),
        ({"crops": "c", "steps": 1e3}, "steps: a value of type int is needed, not 1000.0"),
        ({"crops": "c", "rate": 10**400}, "rate: int too large"),
        ({"crops": "c", "width": float("nan")}, "width lies in"),
        ({"crops": "c", "rate": -1.0}, "rate lies in"),
        ({"crops": "c", "rate": float("nan")}, "rate lies in"),
        ({"crops": "c", "loss": "softmax"}, "loss is one of triplet, .*not 'softmax'"),
        ({"crops": "c", "few": "drop"}, "few is one of repeat, leave-out"),
        ({"crops": "c", "loss": "distillation"}, "at least one teacher"),
        ({"crops": "c", "sampler": "turn"}, "sampler people, not turn"),
        ({"crops": "c", "loss": "contrastive", "sampler": "turn"}, "sampler pairs or people, not turn"),
        ({"crops": "c", "freeze_until": "block3"}, "freezing random weights"),
        ({"crops": "c", "teachers": "mobilenet-128"}, "teachers: a list of names"),
        ({"crops": 7}, "crops: a value of type str is needed, not 7"),
        ({"crops": "c", "loss": "cosface", "miner": "hard"}, "loss cosface has none: leave miner hard out"),
        ({"crops": "c", "teachers": ["a"], "teacher_weight": 0, "similarity_weight": 0}, "teachers of weight 0"),
        ({"crops": "c", "validation_people": "list.txt"}, "say validation too"),
        ({"crops": "c", "held_out": 0.0, "patience": 2}, "patience 2 counts validations, and nobody is validated on"),
    ],
)
def test_what_cannot_be_is_named(fields: dict[str, object], told: str) -> None:
    with pytest.raises(TrainingPlanError, match=told):
        parse_plan(fields, where="the plan")


@pytest.mark.parametrize("content", ["crops = ", b"\xff\xfe", None])
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, content) -> None:
    path = tmp_path / "plan.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrainingPlanError, match="cannot be read"):
        read_plan(path, {})


def test_an_augmentation_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"flip of an augmentation lies in \[0, 1\], not 2"):
        Augmentation(flip=2.0)


def test_a_log_is_cut_back_and_a_torn_line_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(TrainingPlan(crops="c"), FACTS)
    for step in (10, 20, 30):
        run.note("step", step, loss=1.0 / step)
    for torn in ('{"kind": "st', "3\n", '{"kind": "step"}\n', '{"kind": "step", "step": "4"}\n', '{"step": 4}\n'):
        whole = (run.path / "log.jsonl").read_text()
        (run.path / "log.jsonl").write_text(whole + torn)
        assert [line["step"] for line in run.lines()] == [10, 20, 30], torn
        (run.path / "log.jsonl").write_text(whole)
    first, rest = whole.split("\n", 1)
    (run.path / "log.jsonl").write_bytes(f"{first}\n".encode() + b"\xff\xfe\n" + f'{rest}{{"kind": "st'.encode())
    run.forget_after(20)
    assert [line["step"] for line in run.lines()] == [10, 20]
    plan, facts = run.read()
    assert plan.crops == "c"
    assert facts == FACTS


def test_another_number_of_processes_is_told_once(tmp_path: Path) -> None:
    """Triplets are mined within each process' part of a batch: the run goes on otherwise than it began."""
    run, plan = RunFolder(tmp_path / "run"), TrainingPlan(crops="c")
    run.begin(plan, {**FACTS, "n_processes": 2})
    assert run.change(plan, 5, n_processes=2) == {}
    assert run.change(plan, 5, n_processes=1) == {"n_processes": 1}
    assert run.change(plan, 7, n_processes=1) == {}
    assert [(line["kind"], line["step"], line["plan"]) for line in run.lines()] == [("change", 5, {"n_processes": 1})]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n_crops": "many"}, "n_crops: not there"),
        ({"start": None, "sampler": 3}, "start, sampler: not there"),
        ({"architecture": []}, "architecture: not there"),
        ({"teacher_licences": "MIT"}, "teacher_licences: not there"),
        ({"start_licence": 1}, "start_licence: not there"),
    ],
)
def test_a_run_with_facts_of_another_kind_is_damaged(tmp_path: Path, change: dict[str, object], told: str) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(TrainingPlan(crops="c"), {**FACTS, **change})
    with pytest.raises(InputError, match=f"is damaged: {told}"):
        run.read()


def test_a_run_of_before_is_none_that_is_damaged(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    later = ("rows_digest", "validation_digest", "start_licence", "teacher_licences")
    run.begin(TrainingPlan(crops="c"), {name: value for name, value in FACTS.items() if name not in later})
    assert run.read()[0].crops == "c"


def test_a_warning_of_the_end_goes_when_the_run_goes_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(TrainingPlan(crops="c"), FACTS)
    run.note("warning", 3, text="stays")
    run.note(WORSE, 5, text="goes")
    run.forget_after(5)
    assert [line["text"] for line in run.lines()] == ["stays"]


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"plan": []}', "{}"])
def test_a_run_whose_file_is_something_else_is_damaged(tmp_path: Path, text: str) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(TrainingPlan(crops="c"), FACTS)
    (run.path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        run.read()


def test_who_of_a_list_has_no_crop_is_said(tmp_path: Path) -> None:
    store = CropStore.open(store_of_vectors(tmp_path / "store", [("Ada", 1), ("Ada", 2), ("Ben", 3), ("Cy", 4)]))
    names = tmp_path / "names.txt"
    for listed, people, told in (
        ("Ada\nBen", 2, None),
        ("Ada\nDot\nEve", 1, "2 of the 3 people of names.txt have no crop in store"),
    ):
        names.write_text(listed)
        found, absent = of_list(store, names)
        assert (len(found.people), absent) == (people, told)
    names.write_text("Dot\n")
    with pytest.raises(InputError, match=r"has no crop of anybody in .*names.txt, 1 people"):
        of_list(store, names)


def test_lists_of_people_in_both_forms(tmp_path: Path) -> None:
    lfw, plain, empty = tmp_path / "lfw.txt", tmp_path / "plain.txt", tmp_path / "empty.txt"
    lfw.write_text("2\nAda_Lovelace\t3\nBen\t1\n")
    plain.write_text("Ada Lovelace\n\nBen\n")
    empty.write_text("\n")
    assert read_names(lfw) == ["Ada_Lovelace", "Ben"]
    assert read_names(plain) == ["Ada Lovelace", "Ben"]
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("00006\n00067\n")
    blanks = tmp_path / "blanks.txt"
    blanks.write_text("2\nAda_Lovelace 3\nBen 1\n")
    assert read_names(blanks) == ["Ada_Lovelace", "Ben"]  # some copies of LFW's lists have blanks
    assert read_names(numbers) == ["00006", "00067"]  # CelebA's people are numbers, and no count comes before them
    for path, told in ((empty, "names nobody"), (tmp_path / "absent", "cannot be read")):
        with pytest.raises(InputError, match=told):
            read_names(path)
