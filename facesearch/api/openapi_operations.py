"""From the operations of an OpenAPI 3.1 document to the methods of the Python client.

It writes source text and no file: see ``generate_client``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from facesearch.api.openapi_types import PHOTOGRAPH, Schema, argument_name, docstring, is_file, references_of, type_of

MAX_POSITIONAL = 4
"""Arguments that may be given by place; a method with more takes all but the path's by name."""

BOX = "Box"
"""Type of a box that a form takes as one text."""

_METHODS = ("get", "put", "post", "patch", "delete")

_OWN_HEADERS = frozenset({"authorization", "x-api-key", "x-request-id", "if-none-match"})
"""Headers that the client sets by itself, and the one that is for who keeps answers, which it does not."""

_COMPATIBILITY = "compatibility"
"""Tag of the calls that other services' clients make."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a method.

    Attributes:
        name: In Python.
        wire: On the wire.
        kind: Its type, as source text.
        place: ``path``, ``query``, ``header``, ``json``, ``form``, ``photo`` or ``content``.
        is_required: Whether it must be given.
        meaning: What it is, for the docstring.
    """

    name: str
    wire: str
    kind: str
    place: str
    is_required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of the client.

    Attributes:
        name: Of the method: the operation's id.
        method: HTTP method.
        path: With ``{name}`` for each argument of the path.
        arguments: The path's first, then required ones, then the others.
        answer: Type of the answer, as source text.
        item: Type of an item where the answer is one page of several; else None.
        text: First line and description.
        content_type: Of a body that is neither JSON nor a form; else None.
        models: Names of the schemas that its arguments and its answer refer to.
        is_sent_once: Whether it is not sent again after a connection that broke.
    """

    name: str
    method: str
    path: str
    arguments: tuple[Argument, ...]
    answer: str
    item: str | None
    text: str
    content_type: str | None
    models: frozenset[str]
    is_sent_once: bool


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations of a document by path, without those of other services' clients."""
    schemas = document.get("components", {}).get("schemas", {})
    for path, item in sorted(document["paths"].items()):
        for method in _METHODS:
            described = item.get(method)
            if described is not None and _COMPATIBILITY not in described.get("tags", ()):
                yield _operation(path, method, {**described, "parameters": _parameters(item, described)}, schemas)


def _parameters(item: Mapping[str, Any], described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*item.get("parameters", ()), *described.get("parameters", ())]


def _operation(path: str, method: str, described: Mapping[str, Any], schemas: Mapping[str, Schema]) -> Operation:
    body, content_type = _body(described, schemas)
    arguments = [*_plain_arguments(described["parameters"]), *body]
    names = [one.name for one in arguments]
    if len(set(names)) != len(names):
        raise ValueError(f"{described['operationId']}: two arguments have the same name: {', '.join(names)}")
    order = {"path": 0}
    arguments.sort(key=lambda one: order.get(one.place, 1 if one.is_required else 2))
    answer, item = _answer(described, schemas)
    if "cursor" not in names:
        item = None
    text = described.get("description") or f"{described.get('summary', described['operationId']).rstrip('.')}."
    return Operation(
        name=described["operationId"],
        method=method.upper(),
        path=path,
        arguments=tuple(arguments),
        answer=answer,
        item=item,
        text=text.strip(),
        content_type=content_type,
        models=frozenset(_models(described, schemas)),
        is_sent_once=bool(described.get("x-facesearch-sent-once")),
    )


def _models(described: Mapping[str, Any], schemas: Mapping[str, Schema]) -> Iterator[str]:
    """Yield what an operation's arguments and answer refer to: the body itself is none, its fields are arguments."""
    for parameter in described["parameters"]:
        yield from references_of(parameter)
    for content in described.get("requestBody", {}).get("content", {}).values():
        yield from references_of(_resolved(content.get("schema", {}), schemas))
    for status, response in described.get("responses", {}).items():
        if status.startswith("2"):
            yield from references_of(response)


def _plain_arguments(parameters: list[Mapping[str, Any]]) -> Iterator[Argument]:
    for one in parameters:
        if one["in"] == "cookie" or (one["in"] == "header" and one["name"].lower() in _OWN_HEADERS):
            continue
        kind = type_of(one.get("schema", {}))
        meaning = one.get("description") or one.get("schema", {}).get("description", "")
        yield Argument(argument_name(one["name"]), one["name"], kind, one["in"], bool(one.get("required")), meaning)


def _body(described: Mapping[str, Any], schemas: Mapping[str, Schema]) -> tuple[list[Argument], str | None]:
    contents = described.get("requestBody", {}).get("content", {})
    for content_type, place in (("multipart/form-data", "form"), ("application/json", "json")):
        if content_type in contents:
            schema = _resolved(contents[content_type].get("schema", {}), schemas)
            if "properties" not in schema:
                raise ValueError(f"{described['operationId']}: the body of {content_type} is no object with named fields")
            return list(_fields(schema, place, schemas)), None
    if contents:
        content_type = next(iter(contents))
        meaning = described["requestBody"].get("description", "What is sent.")
        return [Argument("file", "file", PHOTOGRAPH, "content", True, meaning)], str(content_type)
    return [], None


def _fields(schema: Schema, place: str, schemas: Mapping[str, Schema]) -> Iterator[Argument]:
    required = schema.get("required", ())
    for name, described in schema["properties"].items():
        where, kind = place, type_of(described)
        if place == "form":
            where, kind = _form_field(_resolved(described, schemas), kind)
        yield Argument(argument_name(name), name, kind, where, name in required, described.get("description", ""))


def _form_field(schema: Schema, kind: str) -> tuple[str, str]:
    """Return the place and the type of a field of a form; files that may be several take one too."""
    options = [schema, *schema.get("anyOf", ())]
    if any(is_file(one) for one in options):
        return "photo", PHOTOGRAPH
    if any(one.get("type") == "array" and is_file(one.get("items", {})) for one in options):
        return "photo", f"{PHOTOGRAPH} | Sequence[{PHOTOGRAPH}]"
    return "form", BOX if schema.get("pattern") and kind.startswith("str") and "x1,y1,x2,y2" in schema.get(
        "description", ""
    ) else kind


def _answer(described: Mapping[str, Any], schemas: Mapping[str, Schema]) -> tuple[str, str | None]:
    for status, response in sorted(described.get("responses", {}).items()):
        if not status.startswith("2"):
            continue
        contents = response.get("content", {})
        if not contents:
            return "None", None
        schema = contents.get("application/json", {}).get("schema")
        if schema is None:
            return "bytes", None
        items = _resolved(schema, schemas).get("properties", {}).get("items")
        return type_of(schema), type_of(items.get("items", {})) if items is not None else None
    return "None", None


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def method_source(operation: Operation, *, is_async: bool) -> str:
    """Return the source of a method, and of the one that goes through all pages where the answer is a page."""
    made = _call_source(operation, is_async=is_async)
    return made if operation.item is None else f"{made}\n\n{_pages_source(operation, is_async=is_async)}"


def _signature(operation: Operation, *, without: tuple[str, ...] = ()) -> str:
    arguments = [one for one in operation.arguments if one.name not in without]
    by_place = [one for one in arguments if one.place == "path"]
    rest = [one for one in arguments if one.place != "path" and one.is_required]
    if len(by_place) + len(rest) <= MAX_POSITIONAL:
        by_place, rest = by_place + rest, []
    rest += [one for one in arguments if one.place != "path" and not one.is_required]
    parts = ["self", *(f"{one.name}: {_wide(one.kind)}" for one in by_place)]
    if rest:
        parts += ["*", *(_named(one) for one in rest)]
    return ", ".join(parts)


def _named(one: Argument) -> str:
    kind = _wide(one.kind)
    if one.is_required:
        return f"{one.name}: {kind}"
    return f"{one.name}: {kind} = None" if kind == "Any" or kind.endswith("None") else f"{one.name}: {kind} | None = None"


def _wide(kind: str) -> str:
    """Return the type that an argument takes: any sequence where the wire has a list."""
    return kind.replace("list[", "Sequence[")


def _told(operation: Operation, *, without: tuple[str, ...] = (), text: str | None = None) -> str:
    entries = [
        (one.name, one.meaning or f"``{one.wire}`` of the request.") for one in operation.arguments if one.name not in without
    ]
    raises = "Raises:\n    ApiError: The service refused, or could not be reached; the class says why."
    return docstring(text or operation.text, entries, heading="Args", indent=8, more=raises)


def _call_source(operation: Operation, *, is_async: bool) -> str:
    word, waits = ("async def", "await ") if is_async else ("def", "")
    places: dict[str, list[Argument]] = {}
    for one in operation.arguments:
        places.setdefault(one.place, []).append(one)
    given = [f"{operation.method!r}", f"{operation.path!r}", operation.answer]
    given += [
        f"{keyword}={{{', '.join(f'{one.wire!r}: {_value(one)}' for one in places[place])}}}"
        for place, keyword in (("path", "at"), ("query", "query"), ("header", "headers"), ("json", "json"), ("form", "form"))
        if place in places
    ]
    if "photo" in places:
        given.append(f"photographs={{{', '.join(f'{one.wire!r}: {one.name}' for one in places['photo'])}}}")
    if "content" in places:
        given += ["content=upload_of(file)[1]", f"content_type={operation.content_type!r}"]
    if operation.is_sent_once:
        given.append("is_sent_once=True")
    return "\n".join(
        [
            f"    {word} {operation.name}({_signature(operation)}) -> {operation.answer}:",
            _told(operation),
            f"        {'' if operation.answer == 'None' else 'return '}{waits}self._send(Call({', '.join(given)}))",
        ]
    )


def _value(one: Argument) -> str:
    """Return how an argument is handed on, as source text: a box is one text in a form."""
    return f"box_text({one.name})" if one.kind == BOX else one.name


def _pages_source(operation: Operation, *, is_async: bool) -> str:
    word, waits, kind = ("async def", "await ", "AsyncIterator") if is_async else ("def", "", "Iterator")
    paged = ("cursor",)
    name = operation.name.removeprefix("list_")
    passed = ", ".join(f"{one.name}={one.name}" for one in operation.arguments if one.name not in paged)
    text = f"Yield every item that ``{operation.name}`` returns page by page."
    return "\n".join(
        [
            f"    {word} iter_{name}({_signature(operation, without=paged)}) -> {kind}[{operation.item}]:",
            _told(operation, without=paged, text=text),
            "        cursor: str | None = None",
            "        while True:",
            f"            page = {waits}self.{operation.name}({passed}{', ' if passed else ''}cursor=cursor)",
            *(
                ["            for item in page.items:", "                yield item"]
                if is_async
                else ["            yield from page.items"]
            ),
            "            cursor = page.next_cursor",
            "            if cursor is None:",
            "                return",
        ]
    )
