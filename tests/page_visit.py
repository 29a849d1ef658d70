"""A visit to the page in a browser: what it asked for, what it complained of, and where it is."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

PATIENCE_MS = 20_000
"""How long a step may take on a machine that does other things as well."""


class Visit:
    """One tab. On leaving, no script may have failed, and nothing may have been asked of another origin.

    Args:
        browser: Where to open it.
        address: The service's.
        key: An API key for the tab, as if it had been typed in; None for none.
        collection: Which one is open, or None.
        **options: Of the browser's context.
    """

    def __init__(
        self, browser: Browser, address: str, *, key: str | None = None, collection: str | None = None, **options: Any
    ) -> None:
        self.address = address
        self._context = browser.new_context(reduced_motion="reduce", **options)
        self._context.set_default_timeout(PATIENCE_MS)
        kept = {"key": key, "collection": collection}
        for name, value in kept.items():
            if value is not None:
                self._context.add_init_script(f"sessionStorage.setItem('facesearch.{name}', {value!r})")
        self.page: Page = self._context.new_page()
        self.requested: list[str] = []
        self.failures: list[str] = []
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.failures.append(str(error)))
        # With a listener choosers are handed over at any time. Without one, each `expect_file_chooser` has the browser
        # start to hand them over, and a key pressed at once may come before that.
        self.page.on("filechooser", lambda chooser: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._context.close()
        if kind is None:
            assert self.failures == []
            assert self.requested, "the page was never opened"
            assert [url for url in self.requested if not url.startswith((self.address, "blob:", "data:"))] == []

    def _note_request(self, request: Request) -> None:
        self.requested.append(request.url)

    def _note_console(self, message: ConsoleMessage) -> None:
        # A browser reports every answer of 400 or more; those are the service's to give and the page's to show.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.failures.append(message.text)

    def open(self, place: str = "people") -> Page:
        """Go to a view, or to the question for the key, and return the page when it is there."""
        self.page.goto(f"{self.address}/#/{place}")
        # The view of before stays until the browser tells the page of its new address, after `goto` has returned.
        shown = f"#main[data-place='#/{place}']:not([aria-busy])"
        self.page.locator(f"{shown}, #main:has(.gate)").wait_for()
        self.page.locator("h1").first.wait_for()
        return self.page

    def drop(self, within: Locator, *photographs: dict[str, Any]) -> None:
        """Hand photographs to a place that takes them."""
        within.locator("input[type=file]").first.set_input_files(list(photographs))


def photograph(name: str, data: bytes) -> dict[str, Any]:
    """Return a file as a browser takes it."""
    return {"name": name, "mimeType": "image/png", "buffer": data}
