"""How long explanations take, and how often occlusion finds what was named: `python bench/explain.py [RUN]`.

Seconds are the median of some turns, for one query and one target, by method and image size, with random weights.
With a RUN that was trained on the shapes world it is also counted how often the window of the largest effect shows more
of the thing that the feedback names than of any other thing, on the test set's queries that remove or change one.
"""

import argparse
import statistics
from collections.abc import Sequence

import numpy as np
import torch

from examples.attention_study.attention import look_at
from itma.data.images import Preprocess
from itma.evaluation.ranking import bootstrap_interval
from itma.explanations.case import Case
from itma.explanations.explaining import METHODS, explain_case
from itma.models.retriever import Retriever
from itma.training.presets import preset_named

SENTENCES = ["make small red object blue"]
MODELS = {
    "itma, resnet-small, 64×96": "demo",
    "itma, resnet-small, 96×96": "wardrobe",
    "itma, resnet-18, 224×224": "photos",
    "tirg, resnet-18, 224×224": "tirg-css",
}
_TURNS = 3


def case(model: Retriever) -> Case:
    size: Preprocess = model.preprocess
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, size.height, size.width), dtype=torch.uint8, generator=random)
    target = model.embed_images(pixels[1:])[0].clone()
    return Case(model, target, pixels[0], SENTENCES[0], pixels[1])


def seconds(threads: Sequence[int]) -> None:
    print(f"torch {torch.__version__}\n| model | threads | {' | '.join(METHODS)} |\n|---|---|{'---|' * len(METHODS)}")
    for name, preset in MODELS.items():
        one = case(Retriever.build(preset_named(preset).model, SENTENCES))
        for count in threads:
            torch.set_num_threads(count)
            cells = []
            for method in METHODS:
                if method == "attention" and one.model.name != "itma":
                    cells.append("–")
                    continue
                methods = [method] if method != "checks" else ["regions", "checks"]
                turns = [explain_case(one, methods).seconds[method] for _ in range(_TURNS)]
                cells.append(f"{statistics.median(turns):.3f}")
            print(f"| {name} | {count} | {' | '.join(cells)} |", flush=True)


def print_shares(run: str) -> None:
    measures = look_at([run], progress=True)[run]
    for name, groups in (("remove", ["remove"]), ("change", ["change"]), ("both", ["remove", "change"])):
        rows = np.isin(measures.groups, groups)
        interval = bootstrap_interval(measures.hit[rows])
        print(
            f"{name}: the most effective window shows the thing named in {measures.hit[rows].mean():.1%} of "
            f"{rows.sum()} queries (95 % {interval.low:.1%} to {interval.high:.1%}; any window "
            f"{measures.chance[rows].mean():.1%})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="*", help="runs trained on the shapes world")
    parser.add_argument("--threads", default=[1], type=int, nargs="+")
    parser.add_argument("--no-seconds", action="store_true")
    options = parser.parse_args()
    if not options.no_seconds:
        seconds(options.threads)
    for run in options.run:
        print(run)
        print_shares(run)


if __name__ == "__main__":
    main()
