"""Videos in a small world: tracks decided, kept, found again, forgotten; the real store and index, fakes for networks and films."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from facesearch.core.errors import (
    IncompatibleTemplatesError,
    InputError,
    UnknownCollectionError,
    UnknownIdentityError,
    UnknownVideoError,
    VideoDecodeError,
    VideoIndexedError,
)
from facesearch.core.identity import Keep, NewFace, Provenance
from facesearch.core.image import Image
from facesearch.core.template import Template
from facesearch.core.video import frame_digest
from facesearch.service.facade_video import checked_video_name
from tests.world import POINTS, FakeNetworks, World, face_at, person_vector

ADA, BOB, EVE = 1, 2, 3


def shot(*people: tuple[int, float], photo: int = 0):
    """Return the faces of a frame: people and how like themselves they look, side by side."""
    return [
        (face_at(20 + 300 * place, 50, 120), person_vector(who, likeness, photo)) for place, (who, likeness) in enumerate(people)
    ]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.faces.enroll(made.networks.portrait("ada.jpg", ADA), "Ada")
    yield made
    made.close()


@pytest.fixture
def film(world) -> str:
    """Ada for 2 s, nobody for 3 s, Bob for 2 s beside Ada in the last one; five frames a second."""
    ada = [shot((ADA, 0.8), photo=number) for number in range(10)]
    bob = [shot((BOB, 0.8), photo=number) for number in range(5)]
    both = [shot((BOB, 0.8), (ADA, 0.7), photo=number) for number in range(5)]
    return world.film("film.mp4", *ada, *[[]] * 15, *bob, *both)


def spans(found) -> list[tuple[float, float]]:
    return [(round(one.interval.start_s, 3), round(one.interval.end_s, 3)) for one in found]


def test_tracks_are_decided_and_kept(world, film):
    indexed = world.faces.index_video(film)
    tracks = [one.track for one in indexed.tracks]
    assert [one.label for one in indexed.tracks] == ["Ada", None, "Ada"]
    assert spans(tracks) == [(0.0, 1.8), (5.0, 6.8), (6.0, 6.8)]
    assert [one.n_faces for one in tracks] == [10, 10, 5]
    assert tracks[0].score > 0.79
    assert tracks[1].score == pytest.approx(0.0, abs=1e-6)
    assert (indexed.fpir, indexed.n_templates, indexed.enrolled, indexed.n_not_enrolled) == (1e-2, 1, (), 0)
    assert indexed.operating_point.threshold == 0.30
    assert (indexed.video.about.reading.n_sampled, indexed.video.about.reading.is_cut) == (35, False)
    video, again = world.faces.video_tracks(film)
    assert video == indexed.video
    assert [one.track_id for one in again] == [one.track_id for one in indexed.tracks]
    assert world.faces.videos() == (indexed.video,)


def test_a_track_of_several_poor_frames_is_recognised_where_one_would_not_be(world):
    # Each frame scores 0.28 alone; eight of them with different noise, fused, score 0.28 / sqrt(0.28² + 0.96² / 8) = 0.64.
    frames = [shot((ADA, 0.28), photo=number) for number in range(8)]
    world.film("poor.mp4", *frames)
    rules_of_one = world.faces.index_video("poor.mp4").tracks
    assert {one.track.n_faces for one in rules_of_one} == {1}, "frames this poor are not even followed"
    likeness = 0.56  # followed (0.31 from frame to frame), and each frame alone above the threshold
    world.film("better.mp4", *[shot((ADA, likeness), photo=number) for number in range(8)])
    (track,) = world.faces.index_video("better.mp4").tracks
    assert track.track.score > 0.85 > likeness


def test_a_person_is_found_in_intervals_without_the_file(world, film):
    world.faces.index_video(film)
    del world.films[film]
    (found,) = world.faces.find_in_video("Ada", gap_s=1.0)
    assert spans(found.sightings) == [(0.0, 1.8), (6.0, 6.8)]
    assert [one.n_faces for one in found.sightings] == [10, 5]
    assert (found.n_tracks, found.fpir) == (3, 1e-2)
    assert found.threshold == POINTS.at_fmr(1e-2 / 3).threshold
    assert found.seen_s == pytest.approx(2.6)
    (together,) = world.faces.find_in_video("Ada", gap_s=4.2)
    assert spans(together.sightings) == [(0.0, 6.8)]
    assert together.sightings[0].n_faces == 15
    assert len(together.sightings[0].tracks) == 2


def test_a_person_enrolled_later_is_found_and_one_who_is_not_there_is_not(world, film):
    world.faces.index_video(film)
    for label, who in (("Bob", BOB), ("Eve", EVE)):
        world.faces.enroll(world.networks.portrait(f"{label}.jpg", who), label)
    (found,) = world.faces.find_in_video("Bob")
    assert spans(found.sightings) == [(5.0, 6.8)]
    (found,) = world.faces.find_in_video("Eve", film)
    assert found.sightings == ()
    assert found.best_score == pytest.approx(0.0, abs=1e-6)


def test_the_rate_is_for_all_videos_searched_together(world, film):
    world.faces.index_video(film)
    world.film("other.mp4", *[shot((EVE, 0.9))] * 3)
    second = world.faces.index_video("other.mp4").video
    both = world.faces.find_in_video("Ada")
    one = world.faces.find_in_video("Ada", film)
    assert [found.video.video_id for found in both] == [1, second.video_id]
    assert [found.operating_point.fmr for found in both] == pytest.approx([1e-2 / 4] * 2)
    assert one[0].operating_point.fmr == pytest.approx(1e-2 / 3)
    assert world.faces.find_in_video("Ada", second.video_id, film)[0].video.video_id == second.video_id
    assert world.faces.find_in_video("Ada", film, fmr=1e-4)[0].threshold == 0.43


def test_feedback_that_asks_for_more_is_heeded(world, film):
    world.faces.index_video(film)
    world.faces.reject(world.networks.portrait("unlike.jpg", ADA, 0.9, photo=20), "Ada", raise_threshold=True)
    (found,) = world.faces.find_in_video("Ada")
    assert found.threshold == pytest.approx(0.9, abs=1e-6)
    assert found.best_score > found.threshold  # fused from ten frames
    assert [one.n_faces for one in found.sightings] == [10, 5][: len(found.sightings)]


def as_photograph(world, name: str, face, vector, digest: str | None = None) -> Image:
    """Return a photograph of one face; under a digest of its own where one is given."""
    made = world.networks.photos[world.networks.photo(name, (face, vector))]
    image = Image(made.pixels, digest or made.digest, name)
    world.networks.faces[image.digest] = world.networks.faces[made.digest]
    return image


@pytest.mark.parametrize("by", ["template", "frame"])
def test_a_track_that_was_rejected_is_not_found_until_that_is_taken_back(world, by):
    early = [shot((ADA, 0.8), photo=number) for number in range(10)]
    late = [shot((ADA, 0.7), photo=number) for number in range(30, 35)]
    indexed = world.faces.index_video(world.film("film.mp4", *early, *[[]] * 20, *late))
    first = indexed.tracks[0].track
    still = as_photograph(world, "still.png", first.detection, first.template.vector)
    if by == "frame":
        digest = frame_digest(indexed.video.about.info.digest, first.best_s)
        still = as_photograph(world, "frame.png", first.detection, person_vector(ADA, 0.5, 40), digest)
    world.faces.reject(still, "Ada")
    (found,) = world.faces.find_in_video("Ada", gap_s=1.0)
    assert spans(found.sightings) == [(6.0, 6.8)]
    assert (found.n_tracks, found.best_score < first.score) == (2, True)
    world.faces.confirm(still, "Ada")
    assert spans(world.faces.find_in_video("Ada", gap_s=1.0)[0].sightings) == [(0.0, 1.8), (6.0, 6.8)]


def test_unknown_people_are_enrolled_once_each(world):
    frames = [shot((BOB, 0.8), photo=number) for number in range(4)]
    gone, short = [[]] * 10, [shot((EVE, 0.9))] * 2
    world.film("a.mp4", *frames, *gone, *frames, *gone, *short, *gone, *[shot((EVE, 0.8), photo=n) for n in range(3)])
    indexed = world.faces.index_video("a.mp4", enroll_unknown=True, keep=Keep.CROP)
    assert indexed.enrolled == ("unknown-1", "unknown-2")
    assert [one.label for one in indexed.tracks] == ["unknown-1", "unknown-1", None, "unknown-2"]
    assert (indexed.n_not_enrolled, indexed.n_recognised) == (1, 0), "whom this run enrolled it did not recognise"
    person = world.faces.show("unknown-1")
    assert person.identity.tags == ("unknown",)
    assert len(person.templates) == 2
    assert world.faces.picture(person.templates[0].template_id).kind is Keep.CROP
    world.film("b.mp4", *frames, *gone, *[shot((9, 0.9), photo=n) for n in range(3)])
    later = world.faces.index_video("b.mp4", enroll_unknown=True)
    assert [one.label for one in later.tracks] == ["unknown-1", "unknown-3"]
    assert later.n_recognised == 1
    world.faces.rename("unknown-1", "Bob")
    assert [one.label for one in world.faces.video_tracks("a.mp4")[1]][:2] == ["Bob", "Bob"]


def test_a_video_is_indexed_once_unless_asked_for_again(world, film):
    first = world.faces.index_video(film).video
    with pytest.raises(VideoIndexedError, match="--again"):
        world.faces.index_video(film)
    world.faces.enroll(world.networks.portrait("bob.jpg", BOB), "Bob")
    again = world.faces.index_video(film, again=True)
    assert [one.label for one in again.tracks] == ["Ada", "Bob", "Ada"]
    assert [one.video_id for one in world.faces.videos()] == [again.video.video_id] != [first.video_id]


def test_an_interrupted_run_leaves_nothing_and_no_thread(world, film):
    before = threading.active_count()

    def interrupt(done_s: float, _total_s: float) -> None:
        if done_s > 2.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.faces.index_video(film, enroll_unknown=True, on_progress=interrupt)
    assert world.faces.videos() == ()
    assert [one.label for one in world.faces.list()] == ["Ada"]
    assert threading.active_count() == before
    assert len(world.faces.index_video(film).tracks) == 3


def test_progress_rises_to_the_end(world, film):
    told = []
    world.faces.index_video(film, on_progress=lambda done_s, total_s: told.append((round(done_s, 3), total_s)))
    assert len(told) == 35
    assert told == sorted(told)
    assert told[-1] == (6.8, 7.0)


def test_a_video_without_a_face_and_a_cut_one_are_kept_and_say_so(world):
    world.film("empty.mp4", [], [], n_lost=10)
    indexed = world.faces.index_video("empty.mp4")
    assert (indexed.tracks, indexed.operating_point) == ((), None)
    assert indexed.video.about.reading.is_cut
    (found,) = world.faces.find_in_video("Ada")
    assert (found.sightings, found.best_score, found.n_tracks) == ((), None, 0)


def test_a_face_that_cannot_be_aligned_is_counted(world):
    point = face_at(0, 0, 0.5)
    world.film("point.mp4", [(point, person_vector(ADA))], shot((ADA, 0.9)))
    indexed = world.faces.index_video("point.mp4")
    assert (indexed.n_unaligned, len(indexed.tracks)) == (1, 1)


def test_a_removed_person_is_unknown_in_videos_and_an_erased_one_is_gone_from_them(world, film, caplog):
    world.faces.index_video(film)
    world.faces.remove("Ada")
    assert "2 tracks of indexed videos that were taken for the person just removed stay" in caplog.text
    assert "Ada" not in caplog.text, "a label has no place in a log"
    assert [one.label for one in world.faces.video_tracks(film)[1]] == [None, None, None]
    world.faces.enroll(world.networks.portrait("ada2.jpg", ADA, 0.95), "Ada")  # decided nowhere, but would be found
    assert len(world.faces.find_in_video("Ada")[0].sightings) == 2
    kept = [one.track.template.vector.astype("<f4").tobytes() for one in world.faces.video_tracks(film)[1]]
    assert all(one in (world.folder / "gallery.db").read_bytes() for one in kept)
    world.faces.remove("Ada", erase=True)
    (left,) = world.faces.video_tracks(film)[1]
    assert left.track.n_faces == 10
    assert left.track.interval.start_s == 5.0
    files = b"".join(path.read_bytes() for path in world.folder.glob("gallery.db*"))
    assert [one in files for one in kept] == [False, True, False]


def test_erasing_takes_what_a_search_of_one_video_finds(world, film):
    world.faces.index_video(film)
    world.film("one.mp4", shot((EVE, 0.33)))
    world.faces.index_video("one.mp4")
    world.faces.enroll(world.networks.portrait("eve.jpg", EVE), "Eve")
    assert [len(one.sightings) for one in world.faces.find_in_video("Eve", "one.mp4")] == [1]
    assert [len(one.sightings) for one in world.faces.find_in_video("Eve")] == [0, 0], "more tracks, a stricter threshold"
    world.faces.remove("Eve", erase=True)
    assert world.faces.video_tracks("one.mp4")[1] == ()
    assert len(world.faces.video_tracks(film)[1]) == 3


def test_removing_a_video_leaves_its_people(world, film):
    indexed = world.faces.index_video(film, enroll_unknown=True)
    assert world.faces.remove_video(film) == indexed.video
    assert world.faces.videos() == ()
    assert [one.label for one in world.faces.list()] == ["Ada", "unknown-1"]
    with pytest.raises(UnknownVideoError, match="videos list"):
        world.faces.remove_video(indexed.video.video_id)
    with pytest.raises(UnknownVideoError, match=r"facesearch index-video film\.mp4"):
        world.faces.find_in_video("Ada", film)


def test_videos_belong_to_their_collection(world, film):
    world.faces.add_collection("cellar")
    world.faces.index_video(film, collection="cellar")
    assert world.faces.videos() == ()
    assert len(world.faces.videos(collection="cellar")) == 1
    with pytest.raises(UnknownVideoError):
        world.faces.find_in_video("Ada", film)
    with pytest.raises(UnknownIdentityError):
        world.faces.find_in_video("Ada", film, collection="cellar")
    world.faces.remove_collection("cellar")
    with pytest.raises(UnknownCollectionError):
        world.faces.videos(collection="cellar")


@pytest.mark.parametrize("collection", ["nowhere"])
def test_a_collection_that_is_not_there_is_refused_before_the_work(world, film, collection):
    with pytest.raises(UnknownCollectionError):
        world.faces.index_video(film, collection=collection)
    assert world.networks.n_embedded == 1


def test_nobody_enrolled_yet_is_no_error(tmp_path):
    world = World(tmp_path)
    world.film("film.mp4", *[shot((ADA, 0.9))] * 3)
    (track,) = world.faces.index_video("film.mp4").tracks
    assert (track.label, track.track.score) == (None, None)
    with pytest.raises(UnknownIdentityError):
        world.faces.find_in_video("Ada")
    world.close()


@pytest.mark.parametrize(
    "wrong", [{"sample_rate": 0}, {"gap_s": 0}, {"gap_s": float("inf")}, {"fpir": 2}, {"fpir": 0.1, "fmr": 0.1}, {"keep": "all"}]
)
def test_wrong_options_are_refused_before_the_work(world, film, wrong):
    with pytest.raises(InputError):
        world.faces.index_video(film, **wrong)
    assert world.networks.n_embedded == 1


def test_unknown_names_and_wrong_searches_are_refused(world, film):
    world.faces.index_video(film)
    with pytest.raises(VideoDecodeError):
        world.faces.index_video("nothing.mp4")
    with pytest.raises(UnknownIdentityError):
        world.faces.find_in_video("Nobody")
    with pytest.raises(UnknownVideoError):
        world.faces.find_in_video("Ada", 99)
    for wrong in ({"gap_s": -1.0}, {"fpir": 0.1, "fmr": 0.1}):
        with pytest.raises(InputError):
            world.faces.find_in_video("Ada", **wrong)


def test_another_embedder_is_told_apart(world, film, tmp_path):
    world.faces.index_video(film)
    other = World(tmp_path, networks=FakeNetworks("other@111111111111"))
    other.films = world.films
    with pytest.raises(IncompatibleTemplatesError, match="Ada"):
        other.faces.find_in_video("Ada")
    with other.store.writing() as writer:
        eve = writer.add_identity("default", "Eve").identity_id
        provenance = Provenance("0" * 64, "eve.jpg", face_at(0, 0, 50), datetime.now(UTC))
        writer.add_face(eve, NewFace(Template(person_vector(EVE), "other@111111111111"), provenance))
    with pytest.raises(IncompatibleTemplatesError, match="index-video"):
        other.faces.find_in_video("Eve", film)
    assert other.faces.find_in_video("Eve") == ()
    other.faces.close()


@pytest.mark.parametrize(
    ("text", "is_there", "expected"), [("12", False, 12), ("12", True, "12"), ("a.mp4", False, "a.mp4"), ("९", False, "९")]
)
def test_a_number_that_names_no_file_is_an_id(text, is_there, expected):
    assert checked_video_name(text, is_there=is_there) == expected
    with pytest.raises(InputError):
        checked_video_name("", is_there=False)
