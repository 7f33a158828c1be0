"""A server's catalogue from Python: the methods of `Catalogue`, over HTTP, with nothing to install beside itma.

HTTP itself (connections that stay open, multipart, time limits) is httpx2's, which the hub's library brings along. It
is loaded with the first request.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote, urlencode

from itma import errors
from itma.io import refuse_stream
from itma.records import Hit, Hits
from itma.retrieval.request import SearchRequest, options_of, takes

if TYPE_CHECKING:
    import httpx2

    from itma.data.images import Source
    from itma.retrieval.ingest.rows import Item, Page

_AGAIN = 3
"""Times that a server which is busy is asked again."""
_KINDS: Mapping[str, type[errors.ItmaError]] = {code: kind for code, (_, kind) in errors.CODES.items()} | {
    "unknown_name": errors.FilterError,
    "invalid_request": errors.ConfigError,
    "busy": errors.BusyError,
    "storage": errors.StorageError,
}


class ServerError(errors.CatalogueError):
    """A server that cannot be reached, refuses, or cannot answer at the moment.

    Args:
        message: what happened.
        status: of HTTP; 0 where there was no answer.
        code: the server's word for it.
    """

    def __init__(self, message: str, status: int = 0, code: str = "unreachable") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Client:
    """A catalogue that a server searches; made with `itma serve`.

    >>> Client("http://127.0.0.1:8000", key="secret")
    <Client of http://127.0.0.1:8000>

    Args:
        url: of the server.
        key: what it asks for, where it does; needed for writing.
        seconds: how long a connection, and each part of an answer, is waited for.
    """

    _http: "httpx2.Client | None" = None

    def __init__(self, url: str, key: str | None = None, *, seconds: float = 60.0) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise errors.ConfigError(f"{url!r} is no server; write it as http://127.0.0.1:8000")
        self.url, self._key, self._seconds = url.rstrip("/"), key, seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens one again."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def __len__(self) -> int:
        return int(self.info()["items"])

    @property
    def ids(self) -> list[str]:
        """The items' ids, sorted; all pages are fetched."""
        ids, after = [], None
        while True:
            page = self.page(500, after=after)
            ids += [item.id for item in page.items]
            after = page.next
            if after is None:
                return sorted(ids)

    @property
    def stamp(self) -> str:
        """The state that is searched; see `Catalogue.stamp`."""
        return str(self.info()["stamp"])

    def info(self) -> dict[str, Any]:
        """What is to be known of the catalogue and of what the server does."""
        answer: dict[str, Any] = self._json("GET", "catalogue")
        return answer

    @takes(cast("Any", SearchRequest), "request", by_position=3)  # to type checkers: any options, for there is `url`
    def search(self, *, request: SearchRequest, url: str | None = None) -> Hits:
        """The k items that fit a reference, a feedback, or both; see `Catalogue.search`.

        A condition is a mapping; `path` of a hit is the address of its image on the server.

        Args:
            request: see `SearchRequest`, whose fields can be given one by one in its place, the image, the text and k
                by position.
            url: the address of a reference, where the server fetches such.

        Raises:
            ServerError: the server cannot be reached, refuses the key, or is overloaded.
            ItmaError: see `Catalogue.search`.
        """
        references = (request.image, request.id, url, request.embedding)
        if sum(reference is not None for reference in references) > 1:
            raise errors.DataError("a query has one reference: give an image, an id, a url, or an embedding")
        options = (name for name in options_of(SearchRequest) if name not in ("image", "id", "embedding"))
        query = {name: getattr(request, name) for name in options}
        numbers = None if request.embedding is None else [float(value) for value in request.embedding]
        answer = self._ask("search", query, request.image, {"id": request.id, "url": url, "embedding": numbers})
        hits = [
            Hit(hit["rank"], hit["id"], hit["score"], self._image(hit["id"]) if hit["image"] else "", hit["fields"])
            for hit in answer["hits"]
        ]
        return Hits(hits, answer["notes"])

    def explain(
        self,
        image: "Source | None" = None,
        text: str | None = None,
        *,
        target: str,
        id: str | None = None,
        url: str | None = None,
        methods: Sequence[str] = (),
        images: bool = False,
    ) -> dict[str, Any]:
        """Why an item is where it is among the answers to a search; see `itma.explain`.

        Args:
            image: the reference: a path, the bytes of a file, or a Pillow image.
            text: the feedback.
            target: the item that is asked about.
            id: an item as the reference, in the place of `image`.
            url: the address of a reference, where the server fetches such.
            methods: some of `attention`, `words`, `regions`, `target`, `gradients`; None: the first four as far as
                they apply.
            images: whether the answer holds reference and target as the model sees them, as data URLs.

        Returns:
            What `Explanation.to_plain` gives, with gradients summed over squares, and the catalogue's `stamp`.

        Raises:
            ExplanationError: a method was asked for that does not apply, or the server's model cannot be explained.
            ServerError: the server cannot be reached, refuses the key, explains nothing, or is overloaded.
            ItmaError: see `itma.explain`.
        """
        if sum(source is not None for source in (image, id, url)) > 1:
            raise errors.DataError("a query has one reference: give an image, an id, or a url")
        query: dict[str, Any] = {"text": text, "target": target, "methods": list(methods), "images": images}
        answer: dict[str, Any] = self._ask("explain", query, image, {"id": id, "url": url})
        return answer

    def page(self, rows: int = 100, *, after: str | None = None, where: Mapping[str, Any] | None = None) -> "Page":
        """Some of the items; see `Catalogue.page`. An item's image is its address on the server."""
        from itma.retrieval.ingest.rows import Page

        condition = None if where is None else json.dumps(dict(where), default=str)
        query = {"limit": rows, "after": after, "where": condition}
        query = {name: value for name, value in query.items() if value is not None}
        answer = self._json("GET", f"items?{urlencode(query)}")
        return Page([self._item(item) for item in answer["items"]], answer["next"])

    def get(self, id: str) -> "Item":
        """One item with its metadata; see `Catalogue.get`. The embedding stays on the server.

        Raises:
            UnknownItemError: there is none of that id.
        """
        return self._item(self._json("GET", f"item?id={_quote(id)}"))

    def image(self, id: str, size: int | None = None) -> bytes:
        """An item's image as a JPEG; `size` is 96, 240 or 480 pixels, None: at most 1,600."""
        name = f"item/image?id={_quote(id)}" if size is None else f"item/thumbnail?size={size}&id={_quote(id)}"
        return self._send("GET", name).content

    def add(self, items: "Iterable[Item]") -> None:
        """Add items, all in one commit; up to 100. Images are sent along and kept by the server.

        Raises:
            ItemExistsError: an id is there already; nothing is added then.
            ServerError: the server does not write, or not with this key.
            ItmaError: see `Catalogue.add`.
        """
        self._put(items, replace=False)

    def replace(self, items: "Iterable[Item]") -> None:
        """Add items, in the place of those with the same ids, all in one commit; errors as for `add`."""
        self._put(items, replace=True)

    def delete(self, ids: Iterable[str]) -> int:
        """Remove items, all in one commit; those that are not there are passed over. How many were removed."""
        names = [ids] if isinstance(ids, str) else list(ids)
        if not names:
            return 0
        return int(self._json("POST", "items/delete", {"ids": names})["removed"])

    def _put(self, items: "Iterable[Item]", *, replace: bool) -> None:
        from itma.retrieval.ingest.rows import list_items

        listed: list[dict[str, Any]] = []
        files: list[tuple[str, tuple[str, bytes]]] = []
        for number, item in enumerate(list_items(items)):
            one: dict[str, Any] = {"id": item.id, "fields": dict(item.fields)}
            if item.embedding is not None:
                one["embedding"] = [float(value) for value in item.embedding]
            if item.image is not None:
                one["image"] = str(number)
                files.append(("images", (str(number), _bytes_of(item.image))))
            listed.append(one)
        if not listed:
            return
        text = json.dumps(listed, default=lambda value: getattr(value, "isoformat", value.__str__)())
        self._multipart("items/bulk", {"items": text, "replace": str(replace).lower()}, files)

    def _item(self, plain: dict[str, Any]) -> "Item":
        from itma.retrieval.ingest.rows import Item

        return Item(plain["id"], self._image(plain["id"]) if plain["image"] else None, fields=plain["fields"])

    def _image(self, id: str) -> str:
        return f"{self.url}/api/v1/item/image?id={_quote(id)}"

    # -- speaking -----------------------------------------------------------------------------------------------------

    def _ask(self, path: str, query: dict[str, Any], image: "Source | None", references: dict[str, Any]) -> Any:
        """Send a query with the image that it begins from, or else with a reference of another kind."""
        if image is None:
            return self._json("POST", path, query | references)
        files = [("image", ("image", _bytes_of(image)))]
        return self._multipart(f"{path}/upload", {"query": json.dumps(query, default=str)}, files)

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        if body is None:
            return self._send(method, path).json()
        text = json.dumps(body, default=str)
        return self._send(method, path, content=text, headers={"Content-Type": "application/json"}).json()

    def _multipart(self, path: str, fields: Mapping[str, str], files: Sequence[tuple[str, tuple[str, bytes]]]) -> Any:
        """Send fields and files as a form; the fields too as parts, so that it is a form without any file as well."""
        parts = [(name, (None, text)) for name, text in fields.items()]
        return self._send("POST", path, files=[*parts, *files]).json()

    def _send(self, method: str, path: str, **request: Any) -> "httpx2.Response":
        import httpx2

        if self._http is None:
            keys = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
            self._http = httpx2.Client(headers=keys, timeout=self._seconds, follow_redirects=True)
        for turn in range(_AGAIN + 1):
            try:
                answer = self._http.request(method, f"{self.url}/api/v1/{path}", **request)
            except httpx2.TimeoutException as error:
                raise ServerError(
                    f"the server {self.url} did not answer within {self._seconds:g} seconds; see whether it is "
                    "overloaded, or give it longer: Client(…, seconds=…)"
                ) from error
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise ServerError(f"the server {self.url} cannot be reached ({error}); is it running?") from error
            wait = answer.headers.get("Retry-After", "")
            if answer.status_code != 503 or not wait.isdigit() or turn == _AGAIN:
                break
            time.sleep(min(5.0, float(wait)))
        if not answer.is_success:
            raise _error(answer.status_code, answer.content)
        return answer


def _error(status: int, body: bytes) -> errors.ItmaError:
    try:
        error = json.loads(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return ServerError(f"the server answered with status {status} and not as one of ours", status, "unknown")
    if code in ("unreadable_image", "image_lost"):
        return errors.ImageError("", message.partition(": ")[2] or message)
    kind = _KINDS.get(code)
    return ServerError(message, status, code) if kind is None else kind(message)


def _quote(id: str) -> str:
    return quote(id, safe="", errors="surrogateescape")


def _bytes_of(image: "Source") -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        refuse_stream(Path(image))
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise errors.ImageError(image, error.strerror or str(error)) from error
    import io

    from itma.data.images import open_image

    buffer = io.BytesIO()
    open_image(image).save(buffer, "PNG")
    return buffer.getvalue()
