"""Routes for items: looking at them, their images, changing them."""

import json
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from itma.errors import ConfigError, DataError, ImageError, UnknownItemError
from itma.retrieval.ingest.rows import Item
from itma.server.access import ServiceOf, changer_of, item_id, may_read
from itma.server.changing import Changer
from itma.server.config import ServeConfig
from itma.server.problems import ProblemError, describe, invalid_request
from itma.server.searching import JSON, as_json, check_parts
from itma.server.service import Service
from itma.server.shapes import MANY, FormName, Ids, Items, ItemShape, New, Removed, Written

router = APIRouter(tags=["items"])
ChangerOf = Annotated[Changer, Depends(changer_of)]
Id = Annotated[str, Depends(item_id)]
ImagePart = Annotated[UploadFile | None, File()]
Fields = Annotated[str, Form(max_length=100_000, description="Metadata, as a JSON object.")]
Embedding = Annotated[str | None, Form(max_length=500_000, description="In place of an image, as JSON.")]
_NEW = TypeAdapter(list[New])
_FIELDS = TypeAdapter(dict[str, Any])
_EMBEDDING = TypeAdapter(list[float])
_LONGEST_NAME = 200
"""Characters of a column's name: it stands in messages, on the page, and in what describes every item."""


@router.get("/items", response_model=Items, dependencies=[Depends(may_read)], summary="Some of the items")
async def items(
    service: ServiceOf,
    limit: Annotated[int, Query(ge=1, le=500)] = 60,
    after: Annotated[str | None, Query(max_length=60, description="`next` of the page before.")] = None,
    where: Annotated[str | None, Query(max_length=10_000, description="As in a search, as JSON.")] = None,
) -> Response:
    """A page of the catalogue, in no particular order; about `limit` items."""
    condition = None if where is None else _parse(_FIELDS, where, "where") or None
    page = await service.reading.run(service.browser.page, limit, after, condition)
    return Response(as_json({"items": [_shape(item) for item in page.items], "next": page.next}), media_type=JSON)


@router.get("/item", response_model=ItemShape, dependencies=[Depends(may_read)], summary="One item")
async def item(service: ServiceOf, id: Id) -> Response:
    """One item with its metadata."""
    item = await service.reading.run(service.browser.get, id)
    return Response(as_json(_shape(item)), media_type=JSON)


_IMAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, 304: {"description": "As before."}}


@router.get("/item/thumbnail", dependencies=[Depends(may_read)], summary="An item's image, small", responses=_IMAGE)
async def thumbnail(
    request: Request, service: ServiceOf, id: Id, size: Annotated[Literal["96", "240", "480"], Query()] = "240"
) -> Response:
    """A JPEG whose longest side has at most `size` pixels, made anew without the metadata of the file."""
    return await _image(request, service, id, int(size))


@router.get("/item/image", dependencies=[Depends(may_read)], summary="An item's image", responses=_IMAGE)
async def image(request: Request, service: ServiceOf, id: Id) -> Response:
    """A JPEG whose longest side has at most 1,600 pixels, made anew without the metadata of the file."""
    return await _image(request, service, id, 1600)


async def _image(request: Request, service: Service, id: str, size: int) -> Response:
    path = await service.reading.run(service.browser.image, id)
    if not path:
        raise ProblemError(404, "no_image", f"the item {id[:60]!r} has no image")
    headers = {"Cache-Control": "private, max-age=60", "Content-Disposition": "inline"}
    try:
        tag = service.thumbnails.tag(path, size)
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Response(status_code=304, headers={**headers, "ETag": f'"{tag}"'})
        tag, data = await service.decoding.run(service.thumbnails.of, path, size)
    except ImageError as error:
        raise ProblemError(404, "image_lost", f"the image of {id[:60]!r} cannot be read any more") from error
    return Response(data, media_type="image/jpeg", headers={**headers, "ETag": f'"{tag}"'})


@router.post("/items", status_code=201, response_model=Written, summary="Add an item")
async def add(
    request: Request,
    service: ServiceOf,
    changer: ChangerOf,
    id: Annotated[FormName, Form()],
    image: ImagePart = None,
    fields: Fields = "{}",
    embedding: Embedding = None,
) -> Response:
    """Add one item, with its image or a ready-made embedding. Every search sees it within a second."""
    await check_parts(request, "id", "image", "fields", "embedding")
    return await _put(service, changer, [await _read_item(id, image, fields, embedding)], new=True)


@router.put("/item", response_model=Written, summary="Replace an item")
async def replace(
    request: Request,
    service: ServiceOf,
    changer: ChangerOf,
    id: Id,
    image: ImagePart = None,
    fields: Fields = "{}",
    embedding: Embedding = None,
) -> Response:
    """Put an item in the place of the one of that id, or add it. Without image and embedding, those stay."""
    await check_parts(request, "image", "fields", "embedding")
    return await _put(service, changer, [await _read_item(id, image, fields, embedding)], new=False)


@router.post("/items/bulk", response_model=Written, summary="Add many items")
async def bulk(
    request: Request,
    service: ServiceOf,
    changer: ChangerOf,
    items: Annotated[str, Form(max_length=5_000_000, description="A JSON list of items.")],
    images: Annotated[list[UploadFile] | None, File(max_length=MANY)] = None,
    replace: Annotated[bool, Form(description="In the place of items of the same ids.")] = False,
) -> Response:
    """Add up to 100 items in one commit: all, or none. Each names its image by the file name of a part."""
    await check_parts(request, "items", "images", "replace", several="images")
    new = _parse(_NEW, items, "items")
    if not 1 <= len(new) <= MANY:
        raise ConfigError(f"{len(new)} items were sent; send 1 to {MANY} at once")
    files = {part.filename: part for part in images or []}
    unnamed = sorted({str(name) for name in files} - {str(one.image) for one in new})
    if unnamed or len(files) < len(images or []):
        what = f"no item names the image {unnamed[0][:60]!r}" if unnamed else "two images have the same file name"
        raise DataError(f"{what}; each item names its image by the file name of its part")
    if lacking := next((one for one in new if one.image not in (None, *files)), None):
        raise DataError(f"the image {str(lacking.image)[:60]!r} of {lacking.id[:60]!r} was not sent")
    contents = {name: await part.read() for name, part in files.items()}
    listed = [_item(one.id, contents.get(one.image), one.embedding, one.fields) for one in new]
    return await _put(service, changer, listed, new=not replace)


@router.delete("/item", response_model=Removed, summary="Delete an item")
async def delete(service: ServiceOf, changer: ChangerOf, id: Id) -> Response:
    """Remove one item, and its image where this server keeps it."""
    removed = await service.write(changer.delete, [id])
    if not removed:
        raise UnknownItemError(f"there is no item {id[:60]!r} in the catalogue")
    return Response(as_json({"removed": removed}), media_type=JSON)


@router.post("/items/delete", response_model=Removed, summary="Delete many items")
async def delete_many(service: ServiceOf, changer: ChangerOf, body: Ids) -> Response:
    """Remove items in one commit; ids that are not there are passed over."""
    return Response(as_json({"removed": await service.write(changer.delete, body.ids)}), media_type=JSON)


async def _read_item(id: str, image: UploadFile | None, fields: str, embedding: str | None) -> Item:
    data = None if image is None else await image.read()
    numbers = None if embedding is None else _parse(_EMBEDDING, embedding, "embedding")
    return _item(id, data, numbers, _parse(_FIELDS, fields, "fields"))


def _item(id: str, image: bytes | None, embedding: list[float] | None, fields: dict[str, Any]) -> Item:
    return Item(id, image, None if embedding is None else np.array(embedding), fields)


def _parse(adapter: TypeAdapter[Any], text: str, what: str) -> Any:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise invalid_request(f"{what}: {describe(error.errors())}") from error


async def _put(service: Service, changer: Changer, items: list[Item], *, new: bool) -> Response:
    for item in items:
        _check_fields(service.config, item)
    await service.write(partial(changer.put, items, new=new))
    return Response(as_json({"ids": [item.id for item in items]}), 201 if new else 200, media_type=JSON)


def _check_fields(config: ServeConfig, item: Item) -> None:
    """Refuse metadata that no search should have to carry, or no answer could.

    Raises:
        ConfigError: there is too much of it.
        DataError: it holds a value that JSON, or a store, does not have, or a name that nobody could show.
    """
    fields, name = item.fields, repr(item.id[:60])
    if len(fields) > (most := config.item_columns):
        raise ConfigError(f"the item {name} has {len(fields):,} columns of metadata; at most {most:,} are taken")
    if bad := next((column for column in fields if len(column) > _LONGEST_NAME or not column.isprintable()), None):
        advice = f"names have at most {_LONGEST_NAME} characters, all of them printable"
        raise DataError(f"the item {name} has a column {bad[:60]!r}; {advice}")
    try:
        size = len(json.dumps(fields, allow_nan=False))
    except ValueError as error:
        raise DataError(f"the metadata of {name} hold NaN or Infinity; leave the value out") from error
    if size > (most := config.item_bytes):
        raise ConfigError(f"the item {name} has {size:,} bytes of metadata; at most {most:,} are taken")
    if _has_zero(fields):
        raise DataError(f"the metadata of {name} hold a zero character (U+0000)")


def _has_zero(value: Any) -> bool:
    if isinstance(value, dict):
        return _has_zero([*value, *value.values()])
    return "\0" in value if isinstance(value, str) else isinstance(value, list) and any(map(_has_zero, value))


def _shape(item: Item) -> dict[str, Any]:
    return {"id": item.id, "image": item.image is not None, "fields": dict(item.fields)}
