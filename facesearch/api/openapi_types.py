"""From the schemas of an OpenAPI 3.1 document to the types and models of the Python client.

It writes source text and no file: see ``generate_client``.
"""

from __future__ import annotations

import keyword
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

Schema = Mapping[str, Any]

WIDTH = 128
"""Longest line of a docstring, in characters."""

PHOTOGRAPH = "Photograph"
"""Type of what is sent as the bytes of a file."""

_SIMPLE = {"integer": "int", "number": "float", "boolean": "bool", "null": "None", "string": "str"}


def type_of(schema: Schema | bool) -> str:
    """Return the Python type of a schema, as source text; ``Any`` where it allows everything."""
    if isinstance(schema, bool) or not schema:
        return "Any"
    if "$ref" in schema:
        return class_name(schema["$ref"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _union([type_of(one) for one in schema[several]])
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return type_of(schema["allOf"][0])
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(repr(one) for one in schema['enum'])}]"
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union([type_of({**schema, "type": one}) for one in kind])
    if kind == "array":
        return _array(schema)
    if kind == "object":
        return f"dict[str, {type_of(schema.get('additionalProperties', True))}]"
    if kind == "string":
        return _text(schema)
    return _SIMPLE.get(str(kind), "Any")


def _union(kinds: list[str]) -> str:
    parts = list(dict.fromkeys(part for kind in kinds for part in kind.split(" | ")))
    if "Any" in parts:
        return "Any"
    return " | ".join([part for part in parts if part != "None"] + (["None"] if "None" in parts else []))


def _array(schema: Schema) -> str:
    fixed = schema.get("prefixItems")
    if fixed:
        return f"tuple[{', '.join(type_of(one) for one in fixed)}]"
    return f"list[{type_of(schema.get('items', True))}]"


def _text(schema: Schema) -> str:
    if is_file(schema):
        return PHOTOGRAPH
    return "datetime" if schema.get("format") == "date-time" else "str"


def is_file(schema: Schema) -> bool:
    """Return whether a schema stands for the bytes of a file."""
    return schema.get("type") == "string" and (
        schema.get("format") == "binary" or ("contentMediaType" in schema and "contentEncoding" not in schema)
    )


def class_name(reference: str) -> str:
    """Return the class that a reference names: FastAPI's names of generic models are no identifiers."""
    name = reference.rsplit("/", 1)[-1]
    return "".join(part[:1].upper() + part[1:] for part in name.replace("-", "_").replace("[", "_").replace("]", "_").split("_"))


def argument_name(name: str) -> str:
    """Return a name as a Python argument."""
    made = name.lower().replace("-", "_")
    return f"{made}_" if keyword.iskeyword(made) or not made.isidentifier() else made


def models_source(schemas: Mapping[str, Schema], used: Iterable[str]) -> str:
    """Return the source of models and of all that they are made of, by name: classes, then the aliases of what is no object.

    Args:
        schemas: All schemas of the document by name.
        used: Names of those that operations need.
    """
    names = sorted(_with_parts(schemas, used))
    classes = [_model(name, schemas[name]) for name in names if _is_object(schemas[name])]
    aliases = [_alias(name, schemas[name]) for name in names if not _is_object(schemas[name])]
    return "\n\n".join([*classes, *aliases])


def _with_parts(schemas: Mapping[str, Schema], used: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(used)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += references_of(schemas[name])
    return found


def references_of(schema: object) -> Iterator[str]:
    """Yield the names of the schemas that a part of the document refers to."""
    if isinstance(schema, Mapping):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference.rsplit("/", 1)[-1]
        for value in schema.values():
            yield from references_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references_of(value)


def _is_object(schema: Schema) -> bool:
    return schema.get("type") == "object" and "properties" in schema


def _alias(name: str, schema: Schema) -> str:
    return f'{class_name(name)}: TypeAlias = {type_of(schema)}\n"""{_sentence(schema, name)}"""\n'


def _model(name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    fields, attributes = [], []
    for field, described in schema["properties"].items():
        fields.append(_field(field, described, is_required=field in required))
        if described.get("description"):
            attributes.append((fields[-1].split(":")[0].strip(), described["description"]))
    lines = [
        f"class {class_name(name)}(ApiModel):",
        docstring(_sentence(schema, name), attributes, heading="Attributes", indent=4),
        "",
    ]
    return "\n".join([*lines, *(f"    {one}" for one in sorted(fields, key=lambda one: " = " in one))]) + "\n"


def _field(name: str, schema: Schema, *, is_required: bool) -> str:
    kind = type_of(schema)
    python = name if name.isidentifier() and not keyword.iskeyword(name) and not hasattr(BaseModel, name) else f"{name}_"
    alias = "" if python == name else f"alias={name!r}"
    if is_required:
        return f"{python}: {kind}" + (f" = Field({alias})" if alias else "")
    default = schema.get("default")
    if default is None or isinstance(default, list | dict):
        kind, value = kind if kind == "Any" or kind.endswith("None") else f"{kind} | None", "None"
    else:
        value = repr(default)
    return f"{python}: {kind} = " + (f"Field({value}, {alias})" if alias else value)


def _sentence(schema: Schema, name: str) -> str:
    return str(schema.get("description") or f"{schema.get('title', name)}.")


def docstring(text: str, entries: list[tuple[str, str]], *, heading: str, indent: int, more: str = "") -> str:
    """Return a docstring in Google style.

    Args:
        text: Its first sentence, and more in paragraphs of their own.
        entries: Names and what they mean.
        heading: Of the entries.
        indent: Spaces before each line.
        more: A section behind the entries, as it is.
    """
    pad = " " * indent
    first, _, rest = text.strip().replace("\\", "\\\\").partition("\n")
    summary, remainder = _summary(first.strip() or "…", WIDTH - indent - 6)
    rest = f"{remainder}\n{rest}"
    parts = [pad + '"""' + summary]
    body = [paragraph for paragraph in rest.replace("\r", "").split("\n\n") if paragraph.strip()]
    for paragraph in body:
        parts += ["", *(pad + line for line in textwrap.wrap(" ".join(paragraph.split()), WIDTH - indent))]
    if entries:
        parts += ["", f"{pad}{heading}:"]
        for name, meaning in entries:
            told = " ".join(f"{name}: {meaning}".replace("\\", "\\\\").split())
            parts += textwrap.wrap(told, WIDTH, initial_indent=pad + " " * 4, subsequent_indent=pad + " " * 8)
    if more:
        parts += ["", *(pad + line for line in more.splitlines())]
    if len(parts) == 1:
        return parts[0] + '"""'
    return "\n".join([*parts, pad + '"""'])


def _summary(text: str, width: int) -> tuple[str, str]:
    """Return a first line that is a sentence, and what of the text is left for the paragraphs behind it."""
    if len(text) <= width:
        return text, ""
    for separator in (". ", "; ", ", "):
        place = text.rfind(separator, 0, width)
        if place > 0:
            rest = text[place + len(separator) :]
            return f"{text[:place]}.", rest[:1].upper() + rest[1:]
    raise ValueError(f"the first sentence has no place to end within {width} characters: {text[:60]!r}…")
