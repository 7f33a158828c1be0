"""All checks of the path on a device, in under eight minutes; the results as JSON.

    python -m bench.gpu [--device cuda] [--out gpu.json] [--checks step,sync] [--minutes 7]

On a machine without one, `--device cpu --tiny` runs the same checks at sizes that take seconds: so it is known to work
before a device is lent. A check that fails is an entry `error` and the others go on; the exit status says whether all
passed. No check is begun when the minutes are over.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bench.performance.training import Published
from itma import api
from itma.data.batching import augment, vary
from itma.data.image_cache import open_cache
from itma.data.synthetic import shapes
from itma.data.triplets import Triplets
from itma.evaluation.ranking import rank_targets
from itma.models.image_encoders.base import ImageEncoderConfig
from itma.models.retriever import Retriever
from itma.training.loop import train
from itma.training.presets import preset_named
from itma.training.run import read_metrics
from itma.training.speed import peak, to_device


@dataclass(frozen=True)
class Setting:
    """What every check is given."""

    device: torch.device
    tiny: bool
    folder: Path
    triplets: Triplets

    def model(self, composer: str = "itma") -> Retriever:
        """ResNet-18 at 224×224 by the published recipe for CSS, on the device."""
        config = preset_named(f"{composer}-css").model
        size = 32 if self.tiny else 224
        config = replace(config, preprocess=replace(config.preprocess, height=size, width=size))
        if self.tiny:
            config = replace(config, dim=16, image_encoder=ImageEncoderConfig(levels=(2,)))
        model = Retriever.build(config, self.triplets.feedback, seed=0)
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], object], turns: int = 3) -> float:
        """The fastest of some calls, after one to warm up."""
        durations = []
        for _ in range(1 + turns):
            self.wait()
            begun = time.perf_counter()
            call()
            self.wait()
            durations.append(time.perf_counter() - begun)
        return min(durations[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--checks", default="", help="names with commas between; without it, all")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    begun = time.perf_counter()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scenes, side = (6, (24, 36)) if options.tiny else (120, (120, 180))
        world = shapes.ShapesConfig(*side, train_scenes=scenes, test_scenes=scenes, changes=9)
        shapes.World(world).write(Path(temporary) / "world", device=torch.device(options.device))
        triplets = shapes.read(Path(temporary) / "world")["train"]
        setting = Setting(torch.device(options.device), options.tiny, Path(temporary), triplets)
        for name in options.checks.split(",") if options.checks else CHECKS:
            if time.perf_counter() - begun > 60 * options.minutes:
                results[name] = {"left_out": "the minutes are over"}
                continue
            started = time.perf_counter()
            try:
                results[name] = CHECKS[name](setting)
            except Exception:  # the other checks are wanted all the same
                results[name] = {"error": traceback.format_exc(limit=-4)}
            results[name]["took seconds"] = round(time.perf_counter() - started, 2)
            print(json.dumps({name: results[name]}), flush=True)
            if options.out:
                options.out.write_text(json.dumps(results, indent=1) + "\n")
    return int(any("error" in result for result in results.values()))


def machine(setting: Setting) -> dict[str, Any]:
    """What the device is, and what a plain product reaches on it."""
    dtypes = (torch.float32, torch.bfloat16) if setting.device.type == "cuda" else (torch.float32,)
    peaks = {f"products a second, {str(dtype)[6:]}": peak(setting.device, dtype) for dtype in dtypes}
    name = torch.cuda.get_device_name(setting.device) if setting.device.type == "cuda" else "cpu"
    return {"device": name, "torch": torch.__version__, **peaks}


def step(setting: Setting) -> dict[str, Any]:
    """Rows and images a second of the training loop, share of the peak, beside a plain float32 loop."""
    results: dict[str, Any] = {}
    for composer in ("itma", "tirg"):
        for batch in (8,) if setting.tiny else (32, 256):
            lines = _trained(setting, composer, batch, log_every=2 if setting.tiny else 10)
            last = [line for line in lines if "images_per_second" in line][-1]
            steps = 2 if setting.tiny else 10
            seconds = (lines[-1]["seconds"] - lines[0]["seconds"]) / (lines[-1]["step"] - lines[0]["step"])
            results[f"{composer}, batch {batch}"] = {
                "rows a second": batch / seconds,
                "images a second": last["images_per_second"],
                "share_of_peak": last["share_of_peak"],
                "plain float32 loop, rows a second": _plain(setting, composer, batch, steps),
            }
    return results


def _trained(setting: Setting, composer: str, batch: int, *, log_every: int, steps: int = 0) -> list[dict[str, float]]:
    model = setting.model(composer)
    triplets = replace(setting.triplets, images=open_cache(setting.triplets.images, model.preprocess))
    steps = steps or 4 * log_every
    config = replace(
        preset_named("itma-css").train,
        steps=steps,
        batch=batch,
        precision="bf16",
        log_every=log_every,
        decay_every=10**6,
    )
    folder = Path(tempfile.mkdtemp(dir=setting.folder))
    train(model, triplets, config, folder)
    return [line for line in read_metrics(folder) if "loss" in line]


def _plain(setting: Setting, composer: str, batch: int, steps: int) -> float:
    """Rows a second of the loop that bench.performance.training has as the other side."""
    model = setting.model(composer).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    workers = 0 if setting.tiny else 8
    files = Published(setting.triplets, model)
    loader = torch.utils.data.DataLoader(
        files, batch, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    begun, done = time.perf_counter(), 0
    while True:
        for references, targets, feedback in loader:
            words = model.text_encoder(model.tokenizer(list(feedback)).to(setting.device))
            queries = F.normalize(
                model.composer.embed_queries(model.image_encoder(references.to(setting.device)), words)
            )
            images = F.normalize(model.composer.embed_images(model.image_encoder(targets.to(setting.device))))
            loss = F.cross_entropy(model.logits(queries, images), torch.arange(len(images), device=setting.device))
            optimizer.zero_grad()
            loss.backward()
            loss.item()
            optimizer.step()
            done += 1
            if done == 2:
                begun = time.perf_counter()
            if done == 2 + steps:
                return steps * batch / (time.perf_counter() - begun)


def sync(setting: Setting) -> dict[str, Any]:
    """How often the loop waits for the device in steps that log nothing."""
    if setting.device.type != "cuda":
        _trained(setting, "itma", 8, log_every=4, steps=4)
        return {"left_out": "only a GPU can be waited for"}
    counts = []
    for steps in (20, 40):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                _trained(setting, "itma", 32, log_every=steps, steps=steps)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits = [str(each.message) for each in caught if "synchroniz" in str(each.message)]
        where = [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]
        counts.append(len(waits))
    result = {"waits a step": (counts[1] - counts[0]) / 20, "where": sorted(set(where))}
    assert result["waits a step"] == 0, result
    return result


def resident(setting: Setting) -> dict[str, Any]:
    """Images kept on the device are those that are sent, and augmentation there is that of the CPU."""
    model, rows = setting.model(), np.arange(8)
    there = to_device(setting.triplets, model.preprocess, setting.device, free_bytes=2**36)
    sent, stored = (each.images.load(rows, model.preprocess).cpu() for each in (setting.triplets, there))
    assert torch.equal(sent, stored)
    pixels = stored.to(setting.device)
    moved = (augment(stored, seed=1, step=2, strength=0.3), augment(pixels, seed=1, step=2, strength=0.3).cpu())
    cropped = (
        vary(stored, seed=1, step=2, crop=0.8, flip=True, noise=0.01),
        vary(pixels, seed=1, step=2, crop=0.8, flip=True, noise=0.01).cpu(),
    )
    apart = [int((one.int() - other.int()).abs().max()) for one, other in (moved, cropped)]
    assert max(apart) <= 2, apart
    return {"largest difference, moved and cropped": apart}


def agreement(setting: Setting) -> dict[str, Any]:
    """Embeddings of the device, in float32 and in bf16, beside those of the CPU in float32."""
    model = setting.model()
    alone = copy.deepcopy(model).cpu()
    pixels = setting.triplets.images.load(range(16), model.preprocess)
    feedback = list(setting.triplets.feedback[:16])
    here, there = (one.embed_queries(pixels, feedback).cpu() for one in (alone, model))
    model.precision = "bf16"
    low = model.embed_queries(pixels, feedback).cpu()
    cosines = {name: float((here * one).sum(1).min()) for name, one in (("float32", there), ("bf16", low))}
    assert min(cosines.values()) > 0.999, cosines
    return {"least cosine": cosines}


def ranks(setting: Setting) -> dict[str, Any]:
    """Ranks from embeddings at the size of CSS's test."""
    queries, images = (50, 80) if setting.tiny else (18_057, 19_057)
    random = torch.Generator().manual_seed(0)
    embeddings = [F.normalize(torch.randn(rows, 512, generator=random), dim=1) for rows in (queries, images)]
    labels = [torch.arange(rows) % (images // 3) for rows in (queries, images)]
    task = [each.to(setting.device) for each in (*embeddings, *labels)]
    seconds = setting.seconds(lambda: rank_targets(*task))
    few = slice(0, 100)
    there = rank_targets(task[0][few], task[1], task[2][few], task[3]).rank.cpu()
    here = rank_targets(embeddings[0][few], embeddings[1], labels[0][few], labels[1]).rank
    share = float((here == there).float().mean())
    assert share > 0.95, share
    return {"seconds": seconds, "ranks as on the CPU": share}


def compiled(setting: Setting) -> dict[str, Any]:
    """What `torch.compile` gains for the image encoder, forwards and backwards."""
    if setting.device.type != "cuda":
        return {"left_out": "compiling for the CPU takes a minute and needs a compiler"}
    model = setting.model()
    pixels = torch.randn(64, 3, 224, 224, device=setting.device).contiguous(memory_format=torch.channels_last)

    def run(encoder: Callable[[torch.Tensor], list[torch.Tensor]]) -> Callable[[], None]:
        def call() -> None:
            with torch.autocast("cuda", torch.bfloat16):
                encoder(pixels)[-1].float().sum().backward()

        return call

    plain = setting.seconds(run(model.image_encoder), 10)
    return {"plain": plain, "compiled": setting.seconds(run(torch.compile(model.image_encoder)), 10)}


def bf16(setting: Setting) -> dict[str, Any]:
    """Recall@1 after the same training in float32 and in bf16, three seeds."""
    results = {}
    for precision in ("float32", "bf16"):
        recalls = []
        for seed in (0,) if setting.tiny else (0, 1, 2):
            begun = time.perf_counter()
            changes = {"train.precision": precision, "train.seed": str(seed), "train.hold_out": "0"}
            preset = "tiny" if setting.tiny else "demo"
            out = setting.folder / f"{precision} {seed}"
            api.train("shapes", preset=preset, changes=changes, out=out, device=str(setting.device))
            seconds = time.perf_counter() - begun
            recalls.append(api.evaluate(out, device=str(setting.device)).recall[1])
        results[precision] = {"recall@1": recalls, "mean": float(np.mean(recalls)), "seconds of the last": seconds}
    return results


def searching(setting: Setting) -> dict[str, Any]:
    """A folder indexed on the device, in float32 and in bf16, and searched from it."""
    setting.model().save(setting.folder / "run")
    speeds, device = {}, str(setting.device)
    for runtime in ("torch", "torch-bf16"):
        folder = setting.folder / runtime
        begun = time.perf_counter()
        catalogue = api.index(setting.folder / "run", setting.folder / "world", folder, runtime=runtime, device=device)
        speeds[runtime] = len(catalogue) / (time.perf_counter() - begun)
        hits = api.search(folder, id=catalogue.ids[0], text=setting.triplets.feedback[0], device=device)
        assert len(hits)
    return {"images a second": speeds, "first": hits[0].id}


CHECKS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "machine": machine,
    "agreement": agreement,
    "resident": resident,
    "sync": sync,
    "step": step,
    "ranks": ranks,
    "searching": searching,
    "compiled": compiled,
    "bf16": bf16,
}

if __name__ == "__main__":
    sys.exit(main())
