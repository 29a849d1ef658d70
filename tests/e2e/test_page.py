"""The page in a real browser over known faces: every view and state, both themes, a phone's width, a keyboard alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from facesearch.embedding.card_file import ARCFACE_112, read_card
from facesearch.embedding.registry import SHIPPED_MODELS
from facesearch.imaging.align import similarity_transform
from tests.api_world import Api
from tests.live_server import LiveServer
from tests.page_visit import Visit, photograph
from tests.world import face_at, person_vector

NASTY = "<img src=x onerror=\"document.title='owned'\">"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
VIEWS = (
    *("people", "enroll", "verify", "identify"),
    *(f"settings/{part}" for part in ("collections", "keys", "points", "model", "audit", "tab")),
)


class Service:
    """A service with a few people in the collection ``default``."""

    def __init__(self, folder):
        self.api = Api(folder)
        networks = self.api.networks
        for person, label in enumerate(("Ada Lovelace", NASTY, "Grace Hopper")):
            answer = self.api.enroll(label, person, tag="staff")
            assert answer.status_code == 201, answer.text
            self.ids = {**getattr(self, "ids", {}), label: answer.json()["identity"]["identity_id"]}
        self.photos = {
            "ada": photograph("ada.png", networks.portrait_png("ada", 0, likeness=0.8, photo=5)),
            "ada again": photograph("ada2.png", networks.portrait_png("ada again", 0, likeness=0.8, photo=6)),
            "new": photograph("new.png", networks.portrait_png("new", 9)),
            "nobody": photograph("nobody.png", networks.png("nobody")),
            "two": photograph(
                "two.png",
                networks.png("two", (face_at(2, 10, 28), person_vector(2, 0.9)), (face_at(34, 10, 28, 0.9), person_vector(8))),
            ),
        }
        self.server = LiveServer(self.api.app)

    @property
    def address(self):
        return self.server.address

    def close(self):
        self.server.close()
        self.api.close()


@pytest.fixture(scope="module")
def service(browser, tmp_path_factory):
    opened = Service(tmp_path_factory.mktemp("service"))
    yield opened
    opened.close()


@pytest.fixture
def open_visit(browser, service):
    def opened(**options):
        return Visit(browser, service.address, **{"key": service.api.every, "viewport": DESK, **options})

    return opened


def violations(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found]


def is_too_wide(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_view_is_accessible_and_fits_a_phone(open_visit, service, theme):
    with open_visit(viewport=PHONE, color_scheme=theme) as visit:
        for view in (*VIEWS, f"people/{service.ids[NASTY]}"):
            page = visit.open(view)
            page.locator(".waiting").first.wait_for(state="detached")
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            assert violations(page) == [], view
            assert not is_too_wide(page), view


@pytest.mark.parametrize("theme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_answers_are_accessible_and_fit_a_phone(open_visit, service, theme):
    with open_visit(viewport=PHONE, color_scheme=theme) as visit:
        page = visit.open("verify")
        visit.drop(page.locator(".slot").nth(0), service.photos["ada"])
        visit.drop(page.locator(".slot").nth(1), service.photos["two"])
        page.get_by_text("2 faces found: click the one you mean").wait_for()
        page.locator(".verdict").wait_for()
        assert violations(page) == []
        assert not is_too_wide(page)

        page = visit.open("identify")
        visit.drop(page.locator("main"), service.photos["two"])
        page.locator(".answer").first.wait_for()
        assert violations(page) == []
        assert not is_too_wide(page)

        page = visit.open("enroll")
        visit.drop(page.locator("main"), service.photos["two"], service.photos["nobody"], service.photos["new"])
        page.get_by_text("No face was found").wait_for()
        page.get_by_text("2 faces: pick the one you mean").wait_for()
        assert violations(page) == []
        assert not is_too_wide(page)

        page = visit.open(f"people/{service.ids['Ada Lovelace']}")
        page.get_by_role("button", name="Remove person").click()
        page.get_by_role("dialog").wait_for()
        assert violations(page) == []
        assert not is_too_wide(page)


def test_a_label_is_text_wherever_it_is_shown(open_visit, service):
    with open_visit() as visit:
        page = visit.open("people")
        page.get_by_text(NASTY).first.wait_for()
        page.get_by_text(NASTY).first.click()
        page.get_by_role("heading", name=NASTY).wait_for()
        page.get_by_role("button", name="Remove person").click()
        page.get_by_role("dialog").get_by_text(f"Remove {NASTY}?").wait_for()
        page.keyboard.press("Escape")
        page = visit.open("identify")
        visit.drop(page.locator("main"), photograph("n.png", service.api.networks.portrait_png("nasty", 1, 0.9, 3)))
        page.get_by_role("heading", name=NASTY).wait_for()
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == "Identify · facesearch"


def test_the_page_may_load_nothing_from_elsewhere_and_runs_no_inline_script(open_visit):
    with open_visit() as visit:
        page = visit.open("people")
        headers = page.request.get(visit.address + "/").headers
        assert headers["cache-control"] == "no-cache"  # an upgrade is seen at once
        allowed = headers["content-security-policy"]
        assert "default-src 'none'" in allowed
        assert "unsafe" not in allowed
        ran = page.evaluate("""() => {
          const script = document.createElement('script');
          script.textContent = 'window.ranInline = true';
          document.head.append(script);
          return window.ranInline === true;
        }""")
        assert not ran
        assert [failure for failure in visit.failures if "Content Security Policy" in failure]
        visit.failures.clear()


def test_search_and_tags_narrow_the_list_and_say_when_nobody_is_left(open_visit):
    with open_visit() as visit:
        page = visit.open("people")
        page.locator(".person").nth(2).wait_for()
        page.get_by_label("Search by name").fill("grace")
        page.locator(".person").nth(2).wait_for(state="detached")
        assert page.locator(".person-name").all_text_contents() == ["Grace Hopper"]
        page.get_by_label("Search by name").fill("nobody at all")
        page.get_by_text("Nobody found").wait_for()
        page.get_by_role("button", name="Show everybody").click()
        page.locator(".person").nth(2).wait_for()
        page.get_by_role("button", name="staff").click()
        page.get_by_role("button", name="staff", pressed=True).wait_for()


def test_an_empty_collection_says_what_to_do(open_visit, service):
    service.api.world.faces.add_collection("empty")
    with open_visit(collection="empty") as visit:
        page = visit.open("people")
        page.get_by_text("Nobody is enrolled yet").wait_for()
        page.get_by_role("main").get_by_role("link", name="Enroll people").last.click()
        page.get_by_role("heading", name="Enroll").wait_for()
        page = visit.open("identify")
        visit.drop(page.locator("main"), service.photos["ada"])
        page.get_by_text("Nobody is enrolled in this collection.").wait_for()


def test_waiting_and_failing_are_said_and_can_be_tried_again(open_visit):
    with open_visit() as visit:
        held = []
        visit.page.route("**/identities?*", lambda route: held.append(route))
        page = visit.open("people")
        page.get_by_text("Looking people up…").wait_for()
        problem = {"code": "overloaded", "title": "Overloaded", "detail": "", "status": 503}
        held.pop().fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))
        page.get_by_role("alert").get_by_text("The service is busy").wait_for()
        page.get_by_role("button", name="Try again").click()
        page.wait_for_timeout(100)
        held.pop().abort()
        page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
        page.unroute("**/identities?*")
        page.get_by_role("button", name="Try again").click()
        page.locator(".person").first.wait_for()
        visit.failures.clear()


def test_a_key_that_dies_is_asked_for_anew(open_visit, service):
    made = service.api.context.keys.create("short", ("read",))
    with open_visit(key=made.text) as visit:
        page = visit.open("people")
        page.locator(".person").first.wait_for()
        assert page.get_by_role("main").get_by_role("link", name="Enroll people").count() == 0
        service.api.context.keys.revoke(made.key.key_id)
        page.wait_for_timeout(1100)  # a key is remembered for at most a second
        page.get_by_role("link", name="Settings").click()
        page.get_by_label("API key").wait_for()


def test_the_theme_can_be_chosen_and_stays(open_visit):
    with open_visit(color_scheme="light") as visit:
        page = visit.open("people")
        switch = page.get_by_role("button", name=re.compile("Theme"))
        switch.click()
        switch.click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        page.reload()
        page.locator("h1").first.wait_for()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def focused(page):
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()")


def tab_to(page, name, limit=60):
    for _ in range(limit):
        page.keyboard.press("Tab")
        if focused(page).startswith(name):
            return
    raise AssertionError(f"{name!r} was not reached with {limit} steps of Tab; the focus is on {focused(page)!r}")


def test_a_keyboard_alone_is_enough(open_visit, service):
    with open_visit() as visit:
        page = visit.open("people")
        page.locator(".person").nth(2).wait_for()
        page.keyboard.press("Tab")
        assert focused(page) == "Skip to content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"

        page.reload()
        page.locator(".person").nth(2).wait_for()
        tab_to(page, "Verify")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Verify").wait_for()
        for name, picture in (("Choose a file", "ada"), ("Choose a file", "two")):
            tab_to(page, name)
            with page.expect_file_chooser() as chooser:
                page.keyboard.press("Enter")
            chooser.value.set_files([service.photos[picture]])
            page.get_by_role("button", name="Another photograph").nth(0 if picture == "ada" else 1).wait_for()
        page.locator(".verdict").wait_for()
        tab_to(page, "Face 2 of 2")
        page.keyboard.press("Enter")
        page.locator("button.box[aria-pressed=true][aria-label^='Face 2']").wait_for()
        assert focused(page).startswith("Face 2 of 2")

        page = visit.open("identify")
        tab_to(page, "Choose a file")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files([service.photos["two"]])
        page.locator(".answer").nth(1).wait_for()
        tab_to(page, "Draw a region")
        page.keyboard.press("Enter")
        assert focused(page).startswith("Region from")
        for _ in range(6):
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Shift+ArrowUp")
        page.keyboard.press("Escape")
        assert focused(page) == "Draw a region"

        page = visit.open(f"people/{service.ids['Grace Hopper']}")
        page.get_by_role("button", name="Remove person").wait_for()
        tab_to(page, "Remove person")
        page.keyboard.press("Enter")
        inside = set()
        for _ in range(8):
            page.keyboard.press("Tab")
            inside.add(page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')"))
        assert inside == {True}, "the focus left the dialog"
        page.keyboard.press("Escape")
        assert focused(page) == "Remove person"


def test_people_are_enrolled_from_a_folder_by_its_name(open_visit, service, tmp_path):
    for name, person in (("Mary Somerville", 11), ("Emmy Noether", 12)):
        (tmp_path / "people" / name).mkdir(parents=True)
        (tmp_path / "people" / name / "1.png").write_bytes(service.api.networks.portrait_png(name, person))
    (tmp_path / "people" / "notes.txt").write_text("no photograph")
    with open_visit() as visit:
        page = visit.open("enroll")
        page.locator("input[webkitdirectory]").set_input_files(tmp_path / "people")
        page.get_by_role("button", name="Enroll 2 photographs").click()
        page.get_by_text("2 photographs · 2 enrolled", exact=True).wait_for()
        page.get_by_role("link", name="Open Emmy Noether").click()
        page.get_by_role("heading", name="Emmy Noether").wait_for()
        labels = {one.label for one in service.api.world.faces.list(collection="default")}
        assert {"Mary Somerville", "Emmy Noether"} <= labels


def test_the_pages_arithmetic_is_the_librarys(open_visit):
    rng = np.random.default_rng(7)
    faces = (np.array(ARCFACE_112) + rng.normal(0, 6, (20, 5, 2))) @ np.array([[0.8, -0.6], [0.6, 0.8]]) * 3 + 40
    shares = read_card(SHIPPED_MODELS / "mobilenet-128.json").score_shares["single"]
    scores = [-1.0, shares.start, 0.1, 0.3041, 0.4291, 0.7, 0.99, 1.0]
    with open_visit() as visit:
        page = visit.open("people")
        found, tails, words = page.evaluate(
            """async ({faces, shares, scores}) => {
              const { similarity } = await import('/js/align.js');
              const { meaning, tail } = await import('/js/scale.js');
              return [
                faces.map((face) => similarity(face)),
                scores.map((score) => ['mated', 'non_mated'].map((which) => tail(shares, which, score))),
                scores.map((score) => meaning(score, shares)),
              ];
            }""",
            {"faces": faces.tolist(), "shares": shares.as_dict(), "scores": scores},
        )
    assert len(found) == 20
    for (a, b, x, y), face in zip(found, faces, strict=True):
        np.testing.assert_allclose([[a, -b, x], [b, a, y]], similarity_transform(face, np.array(ARCFACE_112)), atol=1e-9)
    edges = shares.start + shares.width * np.arange(len(shares.mated) + 1)
    for score, both in zip(scores, tails, strict=True):
        for value, held in zip(both, (shares.mated, shares.non_mated), strict=True):
            above = np.append(np.cumsum(held[::-1])[::-1], 0.0)
            assert value == pytest.approx(np.interp(score, edges, above), abs=1e-9)
    assert words[4] == (
        "Of 10,000 pairs of different people, about 1 scores this high or higher; "
        "of 100 pairs of photographs of one person, about 97 do."
    )
    assert words[5].startswith("Next to none of the 6,848,144 measured pairs of different people scored this high;")
    assert words[7].startswith("None of the 6,848,144 measured pairs")
    assert words[0].startswith("Nearly all pairs of different people")


def test_the_camera_takes_a_photograph_and_is_given_back(open_visit):
    with open_visit() as visit:
        page = visit.open("enroll")
        page.get_by_role("button", name="Camera").click()
        page.get_by_role("dialog").get_by_role("button", name="Take photograph").click()
        page.locator(".queue-item").get_by_text("No face was found in this photograph").wait_for()
        assert page.locator(".queue-item img").count() == 1
        assert page.locator("video").count() == 0
