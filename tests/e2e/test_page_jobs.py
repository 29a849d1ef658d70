"""The page in a real browser, with the real networks behind it: enroll, verify, identify, look after people, settings."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PilImage

from facesearch.api.app import create_app
from facesearch.api.metrics import Metrics
from facesearch.api.server import make_context
from facesearch.core.access import Scope
from facesearch.server_parts import ServerParts
from facesearch.server_settings import ServerSettings
from facesearch.settings import Settings
from tests.live_server import LiveServer
from tests.page_visit import Visit, photograph

pytestmark = pytest.mark.slow

NASTY = "<img src=x onerror=\"document.title='owned'\"> \u2067Zoë"


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    PilImage.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


class Service:
    """The real service over an empty folder."""

    def __init__(self, folder):
        settings = Settings(data_dir=folder, cache_dir=folder / "cache", keep="crop")
        parts = ServerParts(settings, ServerSettings())
        self.context = make_context(parts, Metrics(version="test"))
        self.key = self.context.keys.create("page", tuple(Scope)).text
        self.context.health.warm_up()  # converting networks for an empty cache takes longer than a browser waits
        self.server = LiveServer(create_app(self.context))

    @property
    def address(self):
        return self.server.address

    def close(self):
        self.server.close()
        self.context.pool.close()
        self.context.faces.close()


@pytest.fixture(scope="module")
def service(browser, tmp_path_factory):
    opened = Service(tmp_path_factory.mktemp("service"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pictures(astronaut, hopper, cat):
    both = np.zeros((600, 1024, 3), dtype=np.uint8)
    both[:512, :512], both[:, 512:] = astronaut, hopper
    return {
        "astronaut": photograph("astronaut.png", png(astronaut)),
        "mirrored": photograph("mirrored.png", png(astronaut[:, ::-1])),
        "hopper": photograph("hopper.png", png(hopper)),
        "cat": photograph("cat.png", png(cat)),
        "both": photograph("both.png", png(both)),
    }


@pytest.fixture
def visit(browser, service, request):
    """A tab with a key, in a collection of the test's own."""
    name = request.node.name
    service.context.faces.add_collection(name)
    with Visit(browser, service.address, key=service.key, collection=name) as opened:
        opened.collection = name
        yield opened


def enrolled(service, pictures, collection, **people):
    ids = {}
    for name, picture in people.items():
        label = name.replace("_", " ")
        ids[name] = service.context.faces.enroll(pictures[picture]["buffer"], label, collection=collection).identity.identity_id
    return ids


def test_a_key_is_asked_for_once_a_tab(browser, service):
    with Visit(browser, service.address) as visit:
        page = visit.open()
        field = page.get_by_label("API key")
        field.fill("fs_0000000000000000_wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("The key is not known").wait_for()
        field.fill(service.key)
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("heading", name="People").wait_for()
        page.reload()
        page.get_by_role("heading", name="People").wait_for()
        assert page.evaluate("Object.keys(localStorage)") == []
        assert service.key not in page.content()


def test_people_are_enrolled_with_their_faces_drawn_and_every_outcome_told(visit, service, pictures):
    page = visit.open("enroll")
    visit.drop(page.locator("main"), pictures["astronaut"], pictures["both"], pictures["cat"])
    items = page.locator(".queue-item")
    items.nth(2).get_by_text("No face was found in this photograph").wait_for()
    items.nth(1).get_by_text("2 faces: pick the one you mean").wait_for()
    items.nth(0).get_by_text("Ready").wait_for()
    assert items.nth(0).locator(".box").count() == 1
    items.nth(0).get_by_label("Name").fill("Eileen Collins")
    items.nth(1).get_by_label("Name").fill(NASTY)
    page.get_by_label("Tags for everybody").fill("navy, space")
    hopper = next(
        number for number in range(2) if items.nth(1).locator(".box").nth(number).bounding_box()["x"] > middle(items.nth(1))
    )
    items.nth(1).locator("button.box").nth(hopper).click()
    page.get_by_role("button", name="Enroll 2 photographs").click()
    page.get_by_text("3 photographs · 2 enrolled · 1 failed", exact=True).wait_for()

    # The same face under another name is asked about, and can be insisted on.
    visit.drop(page.locator("main"), pictures["mirrored"])
    again = items.nth(3)
    again.get_by_text("Ready").wait_for()
    again.get_by_label("Name").fill("Somebody Else")
    page.get_by_role("button", name="Enroll 1 photograph").click()
    again.get_by_text("Needs your word").wait_for()
    again.get_by_role("button", name="Take mirrored.png off the list").click()
    assert items.count() == 3

    people = {one.label: one for one in service.context.faces.list(collection=visit.collection)}
    assert set(people) == {"Eileen Collins", NASTY}
    assert set(people["Eileen Collins"].tags) == {"navy", "space"}

    page.get_by_role("link", name="People", exact=True).click()
    cards = page.locator(".person")
    cards.first.wait_for()
    assert cards.count() == 2
    cards.first.locator("img").wait_for()  # the kept crop, fetched with the key
    assert NASTY in cards.locator(".person-name").all_text_contents()
    assert page.title() == "People · facesearch"
    assert page.locator("main img[src=x]").count() == 0


def middle(item):
    place = item.locator(".stage").bounding_box()
    return place["x"] + place["width"] / 2 - 10


def test_two_photographs_are_compared_on_a_scale(visit, pictures):
    page = visit.open("verify")
    slots = page.locator(".slot")
    visit.drop(slots.nth(0), pictures["astronaut"])
    visit.drop(slots.nth(1), pictures["mirrored"])
    page.get_by_role("heading", name="Match", exact=True).wait_for()
    told = page.locator(".scale-plot").get_attribute("aria-label")
    assert "threshold 0.429 (false matches: 1 in 10,000)" in told
    assert page.locator(".scale polygon").count() == 2
    assert "6,848,144 of different people" in page.locator(".scale").inner_text()
    assert page.locator(".verdict canvas").count() == 2
    # The aligned crop is cut out of the photograph: the eyes' row of it is no blank.
    assert (
        page.evaluate("""() => {
      const canvas = document.querySelector('.verdict canvas');
      const pixels = canvas.getContext('2d').getImageData(0, 90, 224, 20).data;
      return new Set(pixels).size;
    }""")
        > 50
    )

    page.get_by_role("radio", name="1 in 1,000,000").check()
    page.locator(".verdict").get_by_text("false matches of 1 in 1,000,000").wait_for()

    slots.nth(1).get_by_role("button", name="Another photograph").click()
    assert page.locator(".verdict").count() == 0
    visit.drop(slots.nth(1), pictures["hopper"])
    page.get_by_role("heading", name="No match").wait_for()
    page.get_by_text("Of 10 pairs of different people").or_(page.get_by_text("Of 100 pairs of different people")).wait_for()
    slots.nth(1).get_by_role("button", name="Another photograph").click()
    visit.drop(slots.nth(1), pictures["cat"])
    page.get_by_text("No face was found in this photograph").wait_for()


def test_faces_are_identified_unknown_is_said_and_an_answer_can_be_rejected(visit, service, pictures):
    enrolled(service, pictures, visit.collection, Eileen="astronaut")
    page = visit.open("identify")
    visit.drop(page.locator("main"), pictures["both"])
    answers = page.locator(".answer")
    page.get_by_text("2 faces found, 1 recognised, 1 unknown.").first.wait_for()
    names = sorted(answers.nth(place).locator("h2").inner_text() for place in range(2))
    assert names == ["Eileen", "Unknown"]

    page.get_by_role("button", name="Draw a region").click()
    place = page.locator(".stage").bounding_box()
    page.mouse.move(place["x"] + place["width"] * 0.52, place["y"] + 5)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 5, place["y"] + place["height"] - 5, steps=4)
    page.mouse.up()
    page.get_by_text("1 face found, 0 recognised, 1 unknown.").first.wait_for()
    page.get_by_role("button", name="Whole photograph").click()
    page.get_by_text("2 faces found, 1 recognised, 1 unknown.").first.wait_for()

    page.locator(".answer", has=page.get_by_role("heading", name="Eileen")).get_by_role("button", name="is not Eileen").click()
    page.get_by_role("dialog").get_by_role("button", name="Not this person").click()
    page.get_by_text("2 faces found, 0 recognised, 2 unknown.").first.wait_for()
    assert len(service.context.faces.feedback(collection=visit.collection)) == 1
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("2 faces found, 1 recognised, 1 unknown.").first.wait_for()
    assert service.context.faces.feedback(collection=visit.collection) == ()

    page.get_by_role("button", name="Another photograph").click()
    visit.drop(page.locator("main"), pictures["cat"])
    page.get_by_text("No face was found in this photograph").first.wait_for()


def test_people_are_renamed_merged_and_removed(visit, service, pictures):
    from playwright.sync_api import expect

    ids = enrolled(service, pictures, visit.collection, Eileen="astronaut", Grace="hopper")
    page = visit.open(f"people/{ids['Eileen']}")
    page.get_by_role("heading", name="Eileen").wait_for()
    page.locator(".face-card img").wait_for()
    page.get_by_role("textbox", name="Name", exact=True).fill("Eileen Collins")
    page.get_by_role("textbox", name="Tags").fill("space")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Eileen Collins").wait_for()

    # Somebody else changes her in the meantime: the page says so instead of writing over it.
    service.context.faces.tag(ids["Eileen"], ["pilot"], collection=visit.collection)
    page.get_by_role("textbox", name="Tags").fill("colonel")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Load their version").click()
    expect(page.get_by_role("textbox", name="Tags")).to_have_value("pilot")

    page.get_by_role("button", name="Merge into").click()
    page.get_by_role("dialog").get_by_role("radio", name="Grace").check()
    page.get_by_role("dialog").get_by_role("button", name="Merge", exact=True).click()
    page.get_by_role("heading", name="Grace").wait_for()
    page.get_by_text("2 faces").first.wait_for()
    assert [one.label for one in service.context.faces.list(collection=visit.collection)] == ["Grace"]

    page.get_by_role("button", name="Remove face").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Remove face").click()
    page.get_by_text("1 face ·").wait_for()
    page.get_by_role("button", name="Remove person").click()
    page.get_by_role("dialog").get_by_label("Erase every trace").check()
    page.get_by_role("dialog").get_by_role("button", name="Remove person").click()
    page.get_by_text("Nobody is enrolled yet").wait_for()
    assert service.context.faces.list(collection=visit.collection) == ()


def test_settings_show_keys_once_points_the_model_and_the_audit_log(visit, service, pictures):
    page = visit.open("settings/keys")
    page.get_by_text("Make a key").click()
    page.get_by_label("What it is for").fill("front desk")
    page.get_by_role("button", name="Make key").click()
    text = page.locator("#new-key").inner_text()
    assert service.context.keys.authenticate(text).name == "front desk"
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("heading", name="front desk").wait_for()
    assert text not in page.content()
    page.get_by_role("button", name="Revoke front desk").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke key").click()
    page.get_by_text("Revoked").first.wait_for()

    page.get_by_role("link", name="Operating points").click()
    page.get_by_role("cell", name="0.4291").wait_for()
    page.get_by_role("link", name="Network").click()
    page.get_by_text("Apache-2.0").first.wait_for()
    page.get_by_role("link", name="Audit log").click()
    page.get_by_role("cell", name="key.revoke").first.wait_for()
    page.get_by_role("button", name="Verify").click()
    page.get_by_text("none altered, none missing").wait_for()

    page.get_by_role("link", name="Collections").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("visitors of today")
    page.get_by_role("button", name="Make collection").click()
    page.locator("#collection").get_by_text("visitors of today").wait_for(state="attached")
    page.get_by_role("button", name="Remove visitors of today").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove collection").click()
    page.get_by_role("button", name="Remove visitors of today").wait_for(state="detached")
    page.get_by_role("link", name="This tab").click()
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_label("API key").wait_for()
    assert page.evaluate("sessionStorage.getItem('facesearch.key')") is None
