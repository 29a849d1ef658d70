"""Multipart bodies taken apart in memory: nothing of them touches the disk, whatever their size.

Starlette's own parser puts parts above a megabyte into temporary files, which is why it is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from facesearch.core.errors import BodyTooLargeError, InputError

MAX_PARTS = 1000
"""Most parts of a body, photographs and fields together."""

MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
"""Most header lines of a part, and bytes of one of them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a body.

    Attributes:
        name: The field's name.
        filename: What the sender calls the file; None for a field that is none.
        data: Its bytes.
    """

    name: str
    filename: str | None
    data: bytes


def is_multipart(content_type: str) -> bool:
    """Return whether a body of this ``Content-Type`` is a form with files."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def parts_of(body: bytes, content_type: str, *, max_parts: int = MAX_PARTS) -> tuple[Part, ...]:
    """Return the parts of a multipart body, in order.

    Args:
        body: The whole body.
        content_type: The request's header; names the boundary.
        max_parts: Most parts taken.

    Raises:
        InputError: No boundary, damaged or cut off, or a part without a name.
        BodyTooLargeError: Too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise InputError("the multipart body has no boundary in its Content-Type")
    collector = _Collector(max_parts)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin,
                "on_part_data": collector.take,
                "on_part_end": collector.end,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_end": collector.finish,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as exc:
        raise InputError(f"the multipart body is damaged: {exc}") from exc
    if not collector.is_finished:
        raise InputError("the multipart body is cut off: its last boundary is missing")
    return tuple(collector.parts)


class _Collector:
    """Keeps what the parser calls out."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.is_finished = False
        self._max_parts = max_parts
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._data = bytearray()

    def begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise BodyTooLargeError(
                f"the body has more than {self._max_parts} parts; send fewer at once", max_parts=self._max_parts
            )
        self._disposition = b""
        self._data = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def take(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]

    def end(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or not name:
            raise InputError(f"part {len(self.parts) + 1} of the multipart body has no name")
        filename = options.get(b"filename")
        self.parts.append(Part(_text(name, "name"), None if filename is None else _text(filename, "filename"), bytes(self._data)))

    def finish(self) -> None:
        self.is_finished = True


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InputError(f"a part's {what} is not UTF-8") from exc
