"""A request that comes as picture files, in the words that the model's handler knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from continuous_training.serving.api.image_decoding import FORMATS, ImageFormat, decode_image
from continuous_training.serving.errors import RequestError, UnsupportedMediaTypeError
from continuous_training.serving.json_codec import decode

Schema = dict[str, Any]

FORM = "multipart/form-data"
MAX_PARTS = 256
"""The most parts of a form: more take longer to parse than to answer."""


@dataclass(frozen=True)
class ImageFields:
    """Where a request holds pictures: the name for exactly one, and the name for a list of them."""

    one: str | None
    many: str | None
    frame: ImageFormat
    others: dict[str, Schema]


def image_fields(schema: Schema) -> ImageFields | None:
    """Find where pictures go in a request of this schema; None when it takes none."""
    one = many = frame = None
    others: dict[str, Schema] = {}
    for alternative in schema.get("oneOf", [schema]):
        for name, found in alternative.get("properties", {}).items():
            if "x-image" in found:
                one, frame = name, ImageFormat.of(found)
            elif "x-image" in found.get("items", {}):
                many, frame = name, ImageFormat.of(found["items"])
            else:
                others[name] = found
    return None if frame is None else ImageFields(one, many, frame, others)


def is_upload(content_type: str) -> bool:
    """Tell whether a body of that type holds pictures rather than JSON."""
    kind = _kind(content_type)
    return kind == FORM or kind.startswith("image/")


def parse_upload(content_type: str, body: bytes, schema: Schema) -> Any:
    """Return the request that the uploaded pictures stand for.

    RequestError when an image or a part cannot be read; UnsupportedMediaTypeError when the model does not
    take images, or not of that type.
    """
    slots = image_fields(schema)
    if slots is None:
        raise UnsupportedMediaTypeError("this model takes no pictures; send its request as application/json")
    if _kind(content_type) != FORM:
        if _kind(content_type) not in FORMATS:
            raise UnsupportedMediaTypeError(
                f"{_kind(content_type)} is not read here; send one of {', '.join(FORMATS)}"
            )
        return _request([body], {}, slots)
    pictures, fields = _parse(content_type, body)
    return _request(pictures, fields, slots)


def _request(pictures: list[bytes], fields: dict[str, str], slots: ImageFields) -> Any:
    if not pictures:
        name = slots.one or slots.many
        raise RequestError(f"the form holds no file; send one, as with curl -F {name}=@picture.png")
    rows = [decode_image(picture, slots.frame) for picture in pictures]
    others = {name: _value(name, text, slots.others) for name, text in fields.items()}
    if len(rows) == 1 and slots.one:
        return {slots.one: rows[0], **others}
    if slots.many:
        return {slots.many: rows, **others}
    raise RequestError(f"the form holds {len(rows)} files, and this model takes one at a time")


def _value(name: str, text: str, known: dict[str, Schema]) -> Any:
    if name not in known:
        raise RequestError(f"the form's field {name!r:.100} is no part of a request; send pictures as files")
    if known[name].get("type") == "string":
        return text
    try:
        return decode(text.encode())
    except RequestError as error:
        raise RequestError(f"the form's field {name!r} is not JSON: {error}") from error


def _parse(content_type: str, body: bytes) -> tuple[list[bytes], dict[str, str]]:
    """Split a form into the contents of its files and the texts of its fields."""
    from python_multipart.exceptions import FormParserError  # late: most requests are JSON
    from python_multipart.multipart import FormParser, parse_options_header

    pictures: list[bytes] = []
    fields: dict[str, str] = {}
    ended: list[bool] = []

    def count() -> None:
        if len(pictures) + len(fields) >= MAX_PARTS:
            raise RequestError(f"the form has more than {MAX_PARTS} parts; send fewer at a time")

    def on_file(file: Any) -> None:
        count()
        file.file_object.seek(0)
        pictures.append(file.file_object.read())
        file.close()

    def on_field(found: Any) -> None:
        count()
        name = (found.field_name or b"").decode("utf-8", "replace")
        fields[name] = (found.value or b"").decode("utf-8", "replace")

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise RequestError(f"the header content-type: {FORM} names no boundary")
    # In memory: the body is already, and within its limit.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    try:
        parser = FormParser(
            FORM, on_field, on_file, on_end=lambda: ended.append(True), boundary=boundary, config=config
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(f"the body is not a valid form: {error}") from error
    if not ended:
        raise RequestError("the body is not a whole form: its last boundary is missing")
    return pictures, fields


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
