"""A server under load: requests a second and latencies, with batching on and off; and whether its memory grows.

    python -m bench.serve --photos FOLDER [--items 599,100000] [--seconds 4] [--requests 50000] [--json FILE]

The model is a ResNet-18 at 224×224 with ITMA's head (stages 3 and 4, 512 numbers), with weights as they are drawn: what
it computes takes as long as if it were trained. The smaller catalogue is the photographs themselves, embedded; the
larger one has clustered vectors as in bench/store.py, whose images are the same photographs over and over. The server
is `itma serve` in a process of its own, one worker, without its memory for answers, so that every search is made; the
clients are one further process, on the same cores, each with one connection that asks again as soon as it has its
answer. Searches by id and by upload carry a sentence; ids are drawn at random, so that the reference's image is
usually read and goes through the image encoder. Thumbnails of 240 pixels are asked for with the memory for them warm.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bench.store import vectors
from itma.data.images import Preprocess
from itma.models.composers.itma import ItmaOptions
from itma.models.image_encoders.hub import ImageEncoderConfig
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.text_encoders.base import TextEncoderConfig
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item

SENTENCES = ["is red", "is longer and blue", "has short sleeves", "is darker with a collar", "less formal"]
CLIENTS = (1, 8, 64)

Request = Callable[[random.Random], bytes]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--items", default="599,100000")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each cell of the table")
    parser.add_argument("--requests", type=int, default=50_000, help="for the memory; 0: leave it out")
    parser.add_argument("--json", type=Path, help="write all numbers there too")
    options = parser.parse_args()
    print(f"load at the beginning: {os.getloadavg()[0]:.2f}")
    rows: list[dict[str, Any]] = []
    photos = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = RetrieverConfig(
            dim=512,
            image_encoder=ImageEncoderConfig(name="resnet-18", levels=(3, 4)),
            text_encoder=TextEncoderConfig(width=512),
            preprocess=Preprocess(height=224, width=224),
            options=ItmaOptions(),
        )
        model = Retriever.build(config, SENTENCES, seed=0).eval()
        model.save(folder / "run")
        for count in map(int, options.items.split(",")):
            catalogue = folder / f"catalogue-{count}"
            ids = build_catalogue(catalogue, folder / "run", model, photos, count)
            rows += measured(catalogue, ids, photos, count, options)
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def build_catalogue(folder: Path, run: Path, model: Retriever, photos: list[Path], count: int) -> list[str]:
    """A catalogue of so many items; their ids."""
    if count <= len(photos):
        catalogue = Catalogue.build(run, photos[0].parent, folder)
        return list(catalogue.ids)
    options = argparse.Namespace(items=count, dim=512, clusters=2_000, queries=0)
    numbered = enumerate(vector for part in vectors(options) for vector in part)
    items = [Item(f"item-{n:07d}", photos[n % len(photos)], vector) for n, vector in numbered]
    Catalogue.from_embeddings(items, folder, model=run)
    return [item.id for item in items]


@contextlib.contextmanager
def server(catalogue: Path, *options: str) -> Iterator[tuple[int, int]]:
    """`itma serve`; its process and its port."""
    line = [sys.executable, "-m", "itma", "serve", str(catalogue), "--port", "0", "--waiting", "1000", *options]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        match = re.search(r":(\d+)/", process.stderr.readline())
        assert match is not None, process.stderr.read()
        port = int(match[1])
        while process.poll() is None:
            with contextlib.suppress(OSError):
                if asyncio.run(once(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 200:
                    break
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


async def once(port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await send(reader, writer, request)
    finally:
        writer.close()


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Send a request and read its answer to the end; the status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head[9:12])


async def load(
    port: int, request: Request, clients: int, *, seconds: float = 1e9, requests: int = 10**9
) -> tuple[list[float], float]:
    """Seconds that each answer took, and the time of all."""
    durations: list[float] = []
    began = time.perf_counter()
    left = [requests]

    async def client(number: int) -> None:
        chance = random.Random(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        while time.perf_counter() - began < seconds and left[0] > 0:
            left[0] -= 1
            sent = time.perf_counter()
            status = await send(reader, writer, request(chance))
            assert status in (200, 304), status
            durations.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return durations, time.perf_counter() - began


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def by_id(ids: list[str], with_text: bool = True) -> Request:
    def request(chance: random.Random) -> bytes:
        body: dict[str, Any] = {"id": chance.choice(ids), "k": 24}
        if with_text:
            body["text"] = chance.choice(SENTENCES)
        return post("/api/v1/search", json.dumps(body).encode())

    return request


def by_upload(photos: list[Path]) -> Request:
    files = [photo.read_bytes() for photo in photos[:100]]

    def request(chance: random.Random) -> bytes:
        query = json.dumps({"text": chance.choice(SENTENCES), "k": 24}).encode()
        body = b'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n' + query
        body += b'\r\n--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        body += chance.choice(files) + b"\r\n--x--\r\n"
        return post("/api/v1/search/upload", body, "multipart/form-data; boundary=x")

    return request


def thumbnails(ids: list[str], different: int = 300) -> Request:
    return lambda chance: get(f"/api/v1/item/thumbnail?size=240&id={quote(chance.choice(ids[:different]), safe='')}")


def mixed(ids: list[str]) -> Request:
    plain, with_text, small = by_id(ids, with_text=False), by_id(ids), thumbnails(ids)

    def request(chance: random.Random) -> bytes:
        number = chance.random()
        if number < 0.5:
            return plain(chance)
        if number < 0.53:
            return with_text(chance)
        return small(chance) if number < 0.9 else get("/api/v1/items?limit=48")

    return request


def measured(
    catalogue: Path, ids: list[str], photos: list[Path], count: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    rows = []
    ways = {"search by id": by_id(ids), "search by upload": by_upload(photos)}
    for batching in (True, False):
        with server(catalogue, "--cache-mb", "0", *([] if batching else ["--batch", "1"])) as (_, port):
            for what, request in ways.items():
                asyncio.run(load(port, request, 8, requests=40))
                for clients in CLIENTS:
                    durations, seconds = asyncio.run(load(port, request, clients, seconds=options.seconds))
                    rows.append(row(count, what, "on" if batching else "off", clients, durations, seconds))
    with server(catalogue) as (pid, port):
        asyncio.run(load(port, thumbnails(ids), 8, requests=2_000))
        for clients in CLIENTS:
            durations, seconds = asyncio.run(load(port, thumbnails(ids), clients, seconds=options.seconds))
            rows.append(row(count, "thumbnail", "", clients, durations, seconds))
    if options.requests and count <= len(photos):
        with server(catalogue) as (pid, port):
            sizes = {}
            done = 0
            for until in sorted({1_000, options.requests // 4, options.requests // 2, options.requests}):
                asyncio.run(load(port, mixed(ids), 8, requests=until - done))
                done = until
                sizes[until] = memory(pid)
            rows.append({"items": count, "what": "memory", "megabytes": sizes})
            print("memory in MB after so many requests:", sizes, flush=True)
    return rows


def memory(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+)", text)
    assert match is not None
    return round(int(match[1]) / 1000, 1)


def row(count: int, what: str, batching: str, clients: int, durations: list[float], seconds: float) -> dict[str, Any]:
    p50, p95, p99 = (float(np.quantile(durations, share)) * 1000 for share in (0.5, 0.95, 0.99))
    result = {
        "items": count,
        "what": what,
        "batching": batching,
        "clients": clients,
        "a second": len(durations) / seconds,
    }
    result |= {"p50": p50, "p95": p95, "p99": p99, "mean": 1000 * statistics.fmean(durations)}
    print(json.dumps({name: round(value, 1) if isinstance(value, float) else value for name, value in result.items()}))
    sys.stdout.flush()
    return result


def print_table(rows: list[dict[str, Any]]) -> None:
    print("\n| items | what | batching | clients | a second | p50 ms | p95 ms | p99 ms |\n" + "|---" * 8 + "|")
    for one in rows:
        if "p50" in one:
            numbers = " | ".join(f"{one[name]:,.1f}" for name in ("a second", "p50", "p95", "p99"))
            print(f"| {one['items']:,} | {one['what']} | {one['batching']} | {one['clients']} | {numbers} |")


if __name__ == "__main__":
    main()
