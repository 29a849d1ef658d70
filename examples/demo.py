"""The main job in one run: two people are enrolled, verified and identified in real photographs, in a temporary gallery.

The photographs are those that come with scikit-image and matplotlib, and altered views of them. Two people are too few to measure
anything: the README's figures do that. Every outcome is checked, and the exit status is 1 if one is not as it should be. It is run
by ``make demo``.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage.data
from contact_sheet import Card, contact_sheet
from PIL import Image, ImageEnhance, ImageOps

from facesearch import FaceSearch, FaceSearchError, Identification
from facesearch.imaging.draw import save_picture

COLLINS = "Eileen Collins"
HOPPER = "Grace Hopper"


def photographs() -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return an astronaut, an admiral and a cat."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        hopper = Image.open(stream).convert("RGB")
    collins, cat = (Image.fromarray(pixels) for pixels in (skimage.data.astronaut(), skimage.data.chelsea()))
    return named(collins, "astronaut"), named(hopper, "grace_hopper"), named(cat, "chelsea")


def named(photo: Image.Image, name: str) -> Image.Image:
    """Return the photograph with a name for facesearch's messages, as if it had been opened from a file."""
    photo.filename = name
    return photo


def noisy(photo: Image.Image) -> Image.Image:
    """Return the photograph with strong sensor noise; the same noise in every run."""
    noise = np.random.default_rng(seed=8).normal(0.0, 35.0, (photo.height, photo.width, 3))
    return Image.fromarray(np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8))


def jpeg(photo: Image.Image) -> Image.Image:
    """Return the photograph after JPEG of quality 8."""
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=8)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return both photographs in one picture."""
    height = min(left.height, right.height)
    both = Image.new("RGB", (left.width + right.width, height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return named(both, "both in one picture")


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "in the dark": lambda photo: ImageEnhance.Brightness(photo).enhance(0.2),
    "with noise": noisy,
    "turned by 20°": lambda photo: photo.rotate(20, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)),
    "at a third of the size": lambda photo: photo.reduce(3),
    "as a JPEG of quality 8": jpeg,
    "mirrored": ImageOps.mirror,
}


@dataclass
class Story:
    """What the demo tells, the pictures it shows, and whatever did not come out as it should."""

    cards: list[Card] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    n_checks: int = 0

    def chapter(self, title: str, *lines: str) -> None:
        """Begin a chapter."""
        print(f"\n{title}")
        for line in lines:
            print(f"  {line}")

    def tell(self, subject: str, outcome: str, *, as_expected: bool) -> None:
        """Print one outcome and remember it if it is a surprise."""
        self.n_checks += 1
        print(f"  {subject:<44} {outcome}" + ("" if as_expected else "   <-- NOT AS EXPECTED"))
        if not as_expected:
            self.surprises.append(f"{subject.strip()}: {outcome}")


def one_in(rate: float) -> str:
    """Return how many a rate is one in, as ``10,000``."""
    return f"{round(1 / rate):,}"


def enroll(story: Story, faces: FaceSearch, photo: Image.Image, label: str) -> None:
    """Enroll a person and show the photograph."""
    done = faces.enroll(photo, label)
    detection = done.template.provenance.detection
    outcome = f"enrolled: face of {detection.width:.0f}×{detection.height:.0f} px, template {done.template.template_id}"
    story.tell(f"{label}'s photograph", outcome, as_expected=done.is_new_identity and done.possible_duplicate is None)
    story.cards.append(Card("The photograph enrolled", photo, [(detection, label, True)], label, "enrolled"))


def verify(story: Story, faces: FaceSearch, first: Image.Image, others: dict[str, tuple[Image.Image, bool]]) -> None:
    """Compare a photograph with others, of which is known whether they show the same person."""
    for name, (photo, is_same) in others.items():
        answer = faces.verify(first, photo)
        verdict = "match" if answer.is_match else "no match"
        sign = "≥" if answer.is_match else "<"
        outcome = f"score {answer.score:5.3f} {sign} {answer.threshold:.3f}: {verdict}"
        story.tell(name, outcome, as_expected=answer.is_match == is_same)


def in_words(answer: Identification) -> str:
    """Return who a face is, and why."""
    top = answer.candidates[0]
    if answer.label is None:
        return f"unknown: nearest is {top.label}, {top.score:5.3f} < {answer.threshold:.3f}"
    return f"{answer.label}: score {top.score:5.3f} ≥ {answer.threshold:.3f}"


def identify(story: Story, faces: FaceSearch, name: str, photo: Image.Image, expected: list[str | None]) -> None:
    """Say who is in a photograph, from left to right, and show it."""
    answers = sorted(faces.identify(photo), key=lambda answer: answer.detection.box[0])
    words = [in_words(answer) for answer in answers]
    is_right = [answer.label for answer in answers] == expected
    for number, outcome in enumerate(words):
        story.tell(name if number == 0 else "", outcome, as_expected=is_right)
    marks = [(answer.detection, answer.label or "unknown", answer.is_match) for answer in answers]
    known = all(answer.is_match for answer in answers)
    verdict = ", ".join(answer.label or "Unknown" for answer in answers)
    scores = ", ".join(f"{answer.candidates[0].score:.3f}" for answer in answers)
    story.cards.append(Card(name, photo, marks, verdict, f"{scores}; needs {answers[0].threshold:.3f}", is_known=known))


def refuse(story: Story, name: str, act: Callable[[], object], code: str) -> FaceSearchError | None:
    """Do what must be refused with an error of this code; return the error."""
    try:
        act()
    except FaceSearchError as error:
        story.tell(name, f"refused ({error.code})", as_expected=error.code == code)
        print(f"    {error.message}")
        return error
    story.tell(name, "was not refused", as_expected=False)
    return None


def tell(story: Story, faces: FaceSearch) -> None:
    """Run the whole story on an empty gallery."""
    astronaut, admiral, cat = photographs()
    altered = {
        label: {name: named(alter(photo), f"{label} {name}") for name, alter in ALTERATIONS.items()}
        for label, photo in ((COLLINS, astronaut), (HOPPER, admiral))
    }

    story.chapter("1  Enroll: one photograph of one person")
    enroll(story, faces, astronaut, COLLINS)

    point = faces.operating_points.at_fmr(faces.settings.verify_fmr)
    story.chapter(
        "2  Verify (1:1): is this the same person as in that photograph?",
        f"A match is a score (cosine similarity) of at least {point.threshold:.3f}; one stranger in {one_in(point.fmr)} reaches it",
        f"(false match rate {point.fmr:g}, measured on {point.n_non_mated:,} pairs of photographs of different people).",
    )
    verify(
        story,
        faces,
        astronaut,
        {f"{COLLINS} {name}": (photo, True) for name, photo in altered[COLLINS].items()} | {HOPPER: (admiral, False)},
    )

    story.chapter(
        "3  Identify (1:N): who is this, if anybody we know?",
        f"At most one stranger in {one_in(faces.settings.identify_fpir)} may come back as somebody, however many are enrolled:",
        "the threshold follows from that and from the number of templates searched.",
        f"The gallery knows {COLLINS} only, so {HOPPER} has to be unknown.",
    )
    identify(story, faces, f"{HOPPER}, not enrolled", admiral, [None])

    story.chapter(f"4  Enroll {HOPPER} too, and identify both in altered photographs")
    enroll(story, faces, admiral, HOPPER)
    for label in (COLLINS, HOPPER):
        for name, photo in altered[label].items():
            identify(story, faces, f"{label} {name}", photo, [label])
    identify(story, faces, "Both in one picture", side_by_side(astronaut, admiral), [COLLINS, HOPPER])

    story.chapter("5  What is refused, and why")
    error = refuse(story, "A cat", lambda: faces.identify(cat), "no_face")
    story.cards.append(Card("A cat", cat, [], "Refused" if error else "NOT refused", "no face found", is_known=False))
    refuse(story, f"{HOPPER} as {COLLINS}", lambda: faces.enroll(altered[HOPPER]["mirrored"], COLLINS), "identity_mismatch")
    refuse(story, f"{COLLINS} under another name", lambda: faces.enroll(altered[COLLINS]["mirrored"], "E. C."), "duplicate_person")
    refuse(story, "The same photograph again", lambda: faces.enroll(astronaut, COLLINS), "duplicate_template")
    refuse(story, "Two faces where one is expected", lambda: faces.template(side_by_side(astronaut, admiral)), "several_faces")


# The sheet shows a choice: with all altered photographs of both it would be a wall.
SHOWN = (
    ("The photograph enrolled", f"{COLLINS}"),
    (f"{HOPPER}, not enrolled", ""),
    ("The photograph enrolled", f"{HOPPER}"),
    ("A cat", ""),
    (f"{COLLINS} in the dark", ""),
    (f"{COLLINS} turned by 20°", ""),
    (f"{COLLINS} with noise", ""),
    (f"{COLLINS} mirrored", ""),
    (f"{HOPPER} at a third of the size", ""),
    (f"{HOPPER} as a JPEG of quality 8", ""),
    ("Both in one picture", ""),
)


def shown(cards: list[Card]) -> list[Card]:
    """Return the cards of the sheet in its order."""
    return [next(card for card in cards if card.title == title and card.verdict.startswith(start)) for title, start in SHOWN]


def main() -> int:
    """Run the demo; return 0 if every outcome was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder of the picture (default: demo-output)")
    folder: Path = parser.parse_args().output
    story, started = Story(), time.perf_counter()
    print("facesearch demo: two people, a cat, and a gallery that is deleted afterwards")
    try:
        # No database URL: one in the environment names a real gallery, which the demo must not touch.
        with (
            tempfile.TemporaryDirectory(prefix="facesearch-demo-") as gallery,
            FaceSearch(gallery, database_url="", collection="demo", keep="none") as faces,
        ):
            tell(story, faces)
            embedder_id = faces.embedder_id
    except FaceSearchError as error:
        print(f"The demo could not go on: {error.message}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "contact-sheet.png"
    subtitle = f"Two people enrolled from one photograph each, then looked for in others.  Embedder {embedder_id}."
    save_picture(contact_sheet(shown(story.cards), title="Who is in these photographs?", subtitle=subtitle), picture)
    print(f"\nThe picture of it:  {picture.resolve()}")
    seconds = time.perf_counter() - started
    if story.surprises:
        print(f"{len(story.surprises)} of {story.n_checks} outcomes were NOT as they should be:", *story.surprises, sep="\n  ")
        return 1
    print(f"All {story.n_checks} outcomes are as they should be ({seconds:.1f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
