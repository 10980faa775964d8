"""Requests that contain image files: multipart forms, and bodies that are one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from continuous_training.serving.api.image_decoding import (
    MEDIA_TYPE_ALIASES,
    MEDIA_TYPES,
    ImageFormat,
    decode_image,
)
from continuous_training.serving.errors import RequestError, UnsupportedMediaTypeError
from continuous_training.serving.json_codec import decode
from continuous_training.serving.json_limits import DEFAULT_LIMITS
from continuous_training.serving.models.schema_inference import Schema

FORM = "multipart/form-data"
MAX_PARTS = 256
"""The maximum number of parts in a form. Parsing more parts takes longer than the inference."""

ReadImage = Callable[[bytes], list[list[float]]]
"""Returns the pixel rows of an image file. ValueError or RequestError if the file is not such an image."""


@dataclass(frozen=True)
class ImageFields:
    """The fields of a request that contain images.

    `single` is the field for exactly one image, and `multiple` the field for a list of images (None: the
    request has no such field). `other_fields` maps the other fields to their schemas.
    """

    single: str | None
    multiple: str | None
    image_format: ImageFormat
    other_fields: dict[str, Schema]


def image_fields(schema: Schema) -> ImageFields | None:
    """Return the image fields of a request schema, or None if the model does not take images."""
    single = multiple = image_format = None
    other_fields: dict[str, Schema] = {}
    for alternative in schema.get("oneOf", [schema]):
        for name, field in alternative.get("properties", {}).items():
            if "x-image" in field:
                single, image_format = name, ImageFormat.from_schema(field)
            elif "x-image" in field.get("items", {}):
                multiple, image_format = name, ImageFormat.from_schema(field["items"])
            else:
                other_fields[name] = field
    return None if image_format is None else ImageFields(single, multiple, image_format, other_fields)


def is_upload(content_type: str) -> bool:
    """Return whether a body of this content type contains images instead of JSON."""
    media_type = _media_type(content_type)
    return media_type == FORM or media_type.startswith("image/")


def parse_upload(content_type: str, body: bytes, schema: Schema, read_image: ReadImage | None = None) -> Any:
    """Return the JSON request that is equivalent to an upload.

    `read_image` is the handler's own reader of image files; without it, `decode_image` reads them.
    RequestError if an image or a part cannot be read; UnsupportedMediaTypeError if the model does not take
    images, or not of that type.
    """
    fields = image_fields(schema)
    if fields is None:
        raise UnsupportedMediaTypeError(
            "this model does not take images; send its request as application/json"
        )
    media_type = _media_type(content_type)
    if media_type != FORM:
        if media_type not in MEDIA_TYPES:
            raise UnsupportedMediaTypeError(
                f"{media_type} is not supported; send one of {', '.join(MEDIA_TYPES)}"
            )
        files, texts = [body], dict[str, str]()
    else:
        parts = _parse_form(content_type, body)
        files, texts = parts.files, parts.texts
    return _request(
        files, texts, fields, read_image or (lambda file: decode_image(file, fields.image_format))
    )


def _request(files: list[bytes], texts: dict[str, str], fields: ImageFields, read_image: ReadImage) -> Any:
    if not files:
        name = fields.single or fields.multiple
        raise RequestError(f"the form contains no file; send one, for example: curl -F {name}=@image.png")
    try:
        images = [read_image(file) for file in files]
    except ValueError as error:
        raise RequestError(str(error)) from error
    other_fields = {name: _parse_text(name, text, fields.other_fields) for name, text in texts.items()}
    if len(images) == 1 and fields.single:
        return {fields.single: images[0], **other_fields}
    if fields.multiple:
        return {fields.multiple: images, **other_fields}
    raise RequestError(f"the form contains {len(images)} files, and this model takes one per request")


def _parse_text(name: str, text: str, schemas: dict[str, Schema]) -> Any:
    """Convert the text of a form field to the type in its schema."""
    if name not in schemas:
        raise RequestError(f"the form's field {name!r:.100} is unknown; send images as files")
    if schemas[name].get("type") == "string":
        return text
    try:
        return decode(text.encode(), DEFAULT_LIMITS)
    except RequestError as error:
        raise RequestError(f"the form's field {name!r} is not JSON: {error}") from error


class _FormParts:
    """Collects the parts that the form parser passes to its callbacks."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.texts: dict[str, str] = {}
        self.complete = False

    def on_file(self, file: Any) -> None:
        self._check_count()
        file.file_object.seek(0)
        self.files.append(file.file_object.read())
        file.close()

    def on_field(self, field: Any) -> None:
        self._check_count()
        name = (field.field_name or b"").decode("utf-8", "replace")
        self.texts[name] = (field.value or b"").decode("utf-8", "replace")

    def on_end(self) -> None:
        self.complete = True

    def _check_count(self) -> None:
        if len(self.files) + len(self.texts) >= MAX_PARTS:
            raise RequestError(f"the form has more than {MAX_PARTS} parts; send fewer per request")


def _parse_form(content_type: str, body: bytes) -> _FormParts:
    """Return the contents of a form's files and the texts of its other fields."""
    # Imported late for a fast start: most requests are JSON.
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import FormParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise RequestError(f"the header content-type: {FORM} has no boundary")
    parts = _FormParts()
    # Keep the files in memory: the body is in memory already and within its size limit.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    try:
        parser = FormParser(
            FORM, parts.on_field, parts.on_file, on_end=parts.on_end, boundary=boundary, config=config
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(f"the body is not a valid form: {error}") from error
    if not parts.complete:
        raise RequestError("the form is incomplete: its last boundary is missing")
    return parts


def _media_type(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    return MEDIA_TYPE_ALIASES.get(media_type, media_type)
