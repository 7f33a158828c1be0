"""Catalogues: indexing, searching, a server under load, and how long a command takes to start."""

import asyncio
import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import itma
from bench import serve
from bench.images import make_photographs
from bench.performance.limits import bytes_a_second, decode_seconds, products_a_second
from bench.performance.rows import seconds_of
from bench.startup import _timed
from itma.allocation import reuse_memory
from itma.data.images import Preprocess, find_images, to_pixels
from itma.device import knows_bf16
from itma.export.runtimes import export_run, open_model
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever, RetrieverConfig
from itma.models.shipped import find_shipped_folder
from itma.models.text_encoders.base import TextEncoderConfig
from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item

WORDS = "is red longer dark blue with a collar short sleeves less formal and more like green shirt".split()
_PHOTOGRAPHS = {"full": 200, "quick": 40, "tiny": 6}
_ITEMS = {"full": 100_000, "quick": 20_000, "tiny": 60}
_DIM = {"full": 512, "quick": 512, "tiny": 32}
_QUERIES = {"full": 60, "quick": 20, "tiny": 3}
_RUNTIMES = {"full": ("torch", "torch-bf16", "onnx"), "quick": ("torch-bf16",), "tiny": ("torch-bf16",)}
_WARM = 20
"""Items that are asked from, whose feature maps the catalogue then holds."""


def model_of(size: str) -> Retriever:
    """ResNet-18 at 224×224, stages 3 and 4, ITMA's head, with weights as they are drawn."""
    if size == "tiny":
        config = RetrieverConfig(
            dim=_DIM[size], text_encoder=TextEncoderConfig(width=16), preprocess=Preprocess(32, 32)
        )
    else:
        config = RetrieverConfig(
            dim=_DIM[size],
            image_encoder=ImageEncoderConfig("resnet-18", levels=(3, 4)),
            text_encoder=TextEncoderConfig(width=512),
            preprocess=Preprocess(height=224, width=224, fit="stretch"),
        )
    return Retriever.build(config, [" ".join(WORDS)], seed=0)


def prepare_photographs(folder: Path, size: str, *, shipped: str | None = None) -> None:
    """Photographs and a model: that of `model_of`, or one that comes with itma, for photographs as a shop has them."""
    (folder / "photographs").mkdir()
    make_photographs(folder / "photographs", _PHOTOGRAPHS[size], (1600, 1200) if shipped else (640, 480))
    if shipped:
        shutil.copytree(find_shipped_folder(shipped), folder / "run")
    else:
        model_of(size).save(folder / "run")
    if "onnx" in _RUNTIMES[size]:
        export_run(folder / "run")


def itma_indexing(folder: Path, size: str) -> dict[str, Any]:
    reuse_memory()
    paths = find_images(folder / "photographs")
    durations = {}
    for runtime in _RUNTIMES[size]:
        begun = time.process_time()
        Catalogue.build(folder / "run", folder / "photographs", folder / f"catalogue by {runtime}", runtime=runtime)
        durations[runtime] = time.process_time() - begun
    fastest = min(durations, key=durations.__getitem__)
    model = open_model(folder / "run", runtime="torch-bf16" if fastest == "torch-bf16" else "torch")
    some = torch.zeros(min(32, len(paths)), 3, model.preprocess.height, model.preprocess.width, dtype=torch.uint8)
    encoder = seconds_of(lambda: model.feature_maps(some), turns=1) / len(some)
    decoding = decode_seconds(paths)
    low = fastest == "torch-bf16" and knows_bf16(torch.device("cpu"))
    peak = products_a_second(torch.bfloat16 if low else torch.float32)
    return {
        "seconds": durations[fastest],
        "count": len(paths),
        "ideal": decoding + encoder * len(paths),
        "limit": f"JPEG decoding {len(paths) / decoding:.0f} images/s, then the image encoder in torch "
        f"{1 / encoder:.0f} images/s; matrix product {peak / 1e9:.0f} GFLOP/s",
        "runtime": fastest,
        **{f"seconds by {name}": value for name, value in durations.items()},
    }


def published_indexing(folder: Path, size: str) -> dict[str, Any]:
    model = Retriever.load(folder / "run")
    paths = find_images(folder / "photographs")[: 40 if size == "full" else None]

    def call() -> None:
        rows = []
        for path in paths:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((model.preprocess.width, model.preprocess.height))
            rows.append(model.embed_images(to_pixels(small)[None]).numpy())
        np.save(folder / "rows.npy", np.concatenate(rows))

    return {"seconds": seconds_of(call, turns=1, warm=False), "count": len(paths)}


def prepare_items(folder: Path, size: str, *, shipped: str | None = None) -> None:
    prepare_photographs(folder, size, shipped=shipped)
    paths = find_images(folder / "photographs")
    embeddings = _embeddings(Retriever.load(folder / "run").features, size)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    items = [Item(f"item-{n:06d}", paths[n % len(paths)], row) for n, row in enumerate(embeddings)]
    Catalogue.from_embeddings(items, folder / "catalogue", model=folder / "run")


def _embeddings(dim: int, size: str) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((_ITEMS[size], dim), dtype=np.float32)


def sentence(chance: random.Random) -> str:
    return " ".join(chance.sample(WORDS, 4))


def _requests(size: str) -> list[tuple[str, str]]:
    chance = random.Random(0)
    return [(f"item-{n % min(_WARM, _ITEMS[size]):06d}", sentence(chance)) for n in range(_QUERIES[size])]


def itma_search(folder: Path, size: str) -> dict[str, Any]:
    reuse_memory()
    middles = {}
    for runtime in _RUNTIMES[size]:
        catalogue = Catalogue.open(folder / "catalogue", folder / "run", runtime=runtime)
        for name, text in _requests(size)[:_WARM]:
            catalogue.search(id=name, text=text, k=24)
        durations = []
        for name, text in _requests(size):
            begun = time.process_time()
            catalogue.search(id=name, text=text, k=24)
            durations.append(time.process_time() - begun)
        middles[runtime] = float(np.median(durations))
    fastest = min(middles, key=middles.__getitem__)
    bandwidth = bytes_a_second()
    return {
        "seconds": middles[fastest],
        "count": 1,
        "p50 ms": 1000 * middles[fastest],
        "ideal": 2 * _ITEMS[size] * Retriever.load(folder / "run").features / bandwidth,
        "limit": f"reading all embeddings once, as float16, {bandwidth / 1e9:.1f} GB/s",
        "runtime": fastest,
        **{f"p50 ms by {runtime}": 1000 * middle for runtime, middle in middles.items()},
    }


def published_search(folder: Path, size: str) -> dict[str, Any]:
    model = Retriever.load(folder / "run")
    paths = find_images(folder / "photographs")
    gallery = _embeddings(model.features, size)
    durations = []
    for number, (_, text) in enumerate(_requests(size)[:20]):
        begun = time.process_time()
        with Image.open(paths[number % len(paths)]) as image:
            small = image.convert("RGB").resize((model.preprocess.width, model.preprocess.height))
        query = model.embed_queries(to_pixels(small)[None], [text]).numpy()[0]
        np.argsort(-(gallery @ query))[:24].tolist()
        durations.append(time.process_time() - begun)
    return {"seconds": float(np.median(durations)), "count": 1}


_CLIENTS = {"full": 64, "quick": 64, "tiny": 4}
_SECONDS = {"full": 8.0, "quick": 3.0, "tiny": 0.3}


def _request(size: str) -> serve.Request:
    def request(chance: random.Random) -> bytes:
        name = f"item-{chance.randrange(min(_WARM, _ITEMS[size])):06d}"
        body = json.dumps({"id": name, "text": sentence(chance), "k": 24})
        return serve.post("/api/v1/search", body.encode())

    return request


def processor_seconds(pid: int) -> float:
    """What another process has used of the processor, where the system has /proc."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


def _load(folder: Path, size: str, clients: int) -> dict[str, Any]:
    """What a server of its own answers: its `seconds` for `count` requests, and the latencies by the clock."""
    with serve.server(folder / "catalogue", "--cache-mb", "0", "--runtime", "torch-bf16") as (pid, port):
        asyncio.run(serve.load(port, _request(size), min(clients, 8), requests=2 * _WARM))
        before = processor_seconds(pid)
        begun = time.perf_counter()
        durations, _ = asyncio.run(serve.load(port, _request(size), clients, seconds=_SECONDS[size]))
        by_clock = len(durations) / (time.perf_counter() - begun)
        seconds = processor_seconds(pid) - before
    middle, slow = (1000 * float(np.quantile(durations, share)) for share in (0.5, 0.99))
    latency = {"p50 ms": middle, "p99 ms": slow, "p99 / p50": slow / middle}
    return {
        "seconds": seconds,
        "count": len(durations),
        "runtime": "torch-bf16",
        "a second by the clock": by_clock,
        **latency,
    }


def itma_clients(folder: Path, size: str) -> dict[str, Any]:
    load = _load(folder, size, _CLIENTS[size])
    model = open_model(folder / "run", runtime="torch-bf16")
    chance = random.Random(0)
    pixels = torch.zeros(1, 3, model.preprocess.height, model.preprocess.width, dtype=torch.uint8)
    maps = [level.expand(32, -1, -1, -1) for level in model.feature_maps(pixels)]
    texts = [sentence(chance) for _ in range(32)]
    each = seconds_of(lambda: model.embed_queries_from(maps, texts)) / 32
    read = 4 * _ITEMS[size] * _DIM[size] / bytes_a_second() / 32
    limit = f"the head and one reading of all embeddings, 32 queries at once, {1 / (each + read):.0f} a second"
    return {**load, "ideal": (each + read) * load["count"], "limit": limit}


def one_client(folder: Path, size: str) -> dict[str, Any]:
    return _load(folder, size, 1)


def prepare_start(folder: Path, size: str) -> None:
    itma.generate("wardrobe", folder / "shop", size="tiny")
    itma.index("wardrobe", folder / "shop" / "images", folder / "catalogue")


def _start(program: str, size: str) -> float:
    """Seconds of the processor, the least of a few new processes."""
    return min(_timed(program)[1] for _ in range({"full": 5, "quick": 2, "tiny": 1}[size]))


def start_of_search(folder: Path, size: str) -> dict[str, Any]:
    words = ["search", str(folder / "catalogue"), "--text", "in red", "-k", "3"]
    took = _start(f"from itma.cli import cli; cli({words!r}, standalone_mode=False)", size)
    least = _start("import torch, lance", size)
    return {"seconds": took, "count": 1, "ideal": least, "limit": f"import of torch and lance, {least:.2f} s"}


def start_of_import(folder: Path, size: str) -> dict[str, Any]:
    took, least = _start("import itma", size), _start("pass", size)
    return {"seconds": took, "count": 1, "ideal": least, "limit": f"Python alone, {least:.2f} s"}


def start_of_torch(folder: Path, size: str) -> dict[str, Any]:
    return {"seconds": _start("import torch, transformers", size), "count": 1}
