"""A tiny catalogue with images and metadata, and ways to serve it in tests."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from itma.retrieval.catalogue import Catalogue
from itma.server.config import Keys, ServeConfig
from tests import made_up

READ, WRITE = "reads-0123456789abcdef", "writes-0123456789abcdef"
COLOURS = {"red": (200, 40, 40), "blue": (40, 60, 200), "green": (40, 150, 70)}


def painted(number: int, size: tuple[int, int] = (120, 150)) -> Image.Image:
    """An image of one colour with a square of another shade in it."""
    colour = list(COLOURS.values())[number % 3]
    image = Image.new("RGB", size, (238, 236, 230))
    side = 30 + 6 * (number % 9)
    inside = tuple(min(255, channel + 11 * (number % 5)) for channel in colour)
    image.paste(inside, (20, 30, 20 + side, 30 + side))
    return image


def as_bytes(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def build(folder: Path, items: int = 30) -> Path:
    """A catalogue of painted images: a colour, a price, whether it is sold, and a date for each."""
    photos = folder / "photos"
    photos.mkdir()
    for number in range(items):
        painted(number).save(photos / f"{number:02d}.png")
    numbers = range(items)
    table = pa.table(
        {
            "id": [f"item-{number:02d}" for number in numbers],
            "file": [f"photos/{number:02d}.png" for number in numbers],
            "colour": [list(COLOURS)[number % 3] for number in numbers],
            "price": [number * 2.5 for number in numbers],
            "sold": [number % 4 == 0 for number in numbers],
            "made": [date(2026, 1, number % 28 + 1) for number in numbers],
        }
    )
    pq.write_table(table, folder / "items.parquet")
    model = made_up.model()
    model.save(folder / "run")
    (folder / "run" / "run.json").write_text(
        '{"data": {"name": "shapes"}, "sentences": ["make red cube", "make blue cube"]}', encoding="utf-8"
    )
    Catalogue.build(folder / "run", folder / "items.parquet", folder / "catalogue")
    return folder / "catalogue"


def app(catalogue: Path, *, keys: Keys | None = None, earlier: bool = False, **settings: Any) -> Any:
    """The application over a catalogue, with settings that tests want; `earlier`: its model knows conversations."""
    from itma.server.app import make_app

    config = ServeConfig(str(catalogue), hosts=("*",), **settings)
    return make_app(config, keys or Keys(write=(WRITE,)), made_up.model(earlier=earlier))


@contextmanager
def running(application: Any) -> Iterator[str]:
    """A real server in a thread of its own, on a free port; gives its address."""
    import uvicorn

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    settings = uvicorn.Config(application, http="h11", ws="none", lifespan="on", log_config=None, log_level="warning")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


def noise(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    random = np.random.Generator(np.random.PCG64(seed))
    return Image.fromarray(random.integers(0, 256, size=(size[1], size[0], 3), dtype=np.uint8))
