"""Photographs that the service can read and the browser cannot show: the page works, with a plain area for the picture."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PilImage

from tests.api_world import Api
from tests.live_server import LiveServer
from tests.page_visit import Visit
from tests.world import face_at, person_vector

WIDTH, HEIGHT = 160, 120


def tiff(api: Api, person: int, photo: int) -> dict:
    """Return a photograph that no Chromium shows, with one known face."""
    stream = BytesIO()
    pixels = np.random.default_rng(photo).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    PilImage.fromarray(pixels).save(stream, "TIFF")
    data = stream.getvalue()
    api.networks.faces[hashlib.sha256(data).hexdigest()] = ((face_at(40, 30, 60), person_vector(person, 0.8, photo)),)
    return {"name": f"{photo}.tiff", "mimeType": "image/tiff", "buffer": data}


@pytest.fixture
def api(tmp_path):
    made = Api(tmp_path)
    assert made.enroll("Ada Lovelace", 0).status_code == 201
    yield made
    made.close()


@pytest.fixture
def visit(browser, api):
    server = LiveServer(api.app)
    with Visit(browser, server.address, key=api.every) as opened:
        yield opened
    server.close()


def check_shown(stage) -> None:
    """Assert that something of the photograph's proportions is shown, with the face where it is."""
    stage.locator(".box").wait_for()
    assert stage.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth / image.naturalHeight)") == 4 / 3
    place = stage.locator(".box").evaluate("box => [box.style.left, box.style.top, box.style.width, box.style.height]")
    assert place == ["25%", "25%", "37.5%", "50%"]


def test_a_photograph_that_the_browser_cannot_show_is_searched_compared_and_enrolled(api, visit):
    page = visit.open("identify")
    visit.drop(page.locator("main"), tiff(api, 0, 5))
    page.get_by_role("heading", name="Ada Lovelace").wait_for()
    check_shown(page.locator(".stage"))
    page = visit.open("verify")
    for number in (0, 1):
        visit.drop(page.locator(".slot").nth(number), tiff(api, 0, 6 + number))
    page.get_by_role("heading", name="Match", exact=True).wait_for()
    for number in (0, 1):
        check_shown(page.locator(".slot").nth(number).locator(".stage"))
    page = visit.open("enroll")
    visit.drop(page.locator("main"), tiff(api, 3, 8))
    page.get_by_label("Name", exact=True).fill("Mary Somerville")
    check_shown(page.locator(".queue-item .stage"))
    page.get_by_role("button", name="Enroll 1 photograph").click()
    page.get_by_text("1 photograph · 1 enrolled", exact=True).wait_for()
    assert {one.label for one in api.world.faces.list(collection="default")} == {"Ada Lovelace", "Mary Somerville"}


@pytest.mark.parametrize("view", ["identify", "verify", "enroll"])
def test_what_nobody_can_read_is_said(api, visit, view):
    page = visit.open(view)
    visit.drop(page.locator("main"), {"name": "no.png", "mimeType": "image/png", "buffer": b"this is no picture"})
    page.get_by_text("This file is no photograph that can be read.").first.wait_for()
    assert page.locator(".stage").count() == 0
