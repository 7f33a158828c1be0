"""How many conversations end at a fitting product: `python bench/conversations.py --shop DIR --catalogue CATALOGUE`.

Each conversation of `conversations.jsonl` starts at a product and goes on in three sentences, in words that were not
taken from the grammar of the wardrobe world. The first search starts at an image of the start, the best hit becomes
the next reference, what was said before still counts (`--forgetful`: it does not), and what was a reference once is
left out of later answers. After the last sentence the hit has to have every attribute that was asked for, and to be of
the same category.

`itma study conversation` measures what a simulated user comes to, who sees the hits and says what is still wrong.

    itma generate wardrobe world --size shop
    itma index RUN world/shop/images CATALOGUE
    python bench/conversations.py --shop world/shop --catalogue CATALOGUE --report failures.html

`--model-free` answers from the attributes themselves instead of a model, to see that the script counts right.
"""

import argparse
import csv
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itma.data.synthetic.generated import Dice
from itma.data.synthetic.wardrobe import grammar
from itma.data.synthetic.wardrobe.disk import read_product
from itma.data.synthetic.wardrobe.products import Product, choices
from itma.demo.page import TurnOnPage, conversations_page
from itma.io import write_text

CONVERSATIONS = Path(__file__).with_name("conversations.jsonl")
TOP = 5

Search = Callable[[str, Sequence[str], Mapping[str, str], Sequence[str]], list[str]]
"""(id of the reference, all sentences so far, wanted attributes, ids to leave out) → ids, best first; a model does not
look at the third."""


@dataclass(frozen=True)
class Step:
    """One sentence and what came of it."""

    say: str
    wanted: dict[str, str]
    reference: str
    hits: tuple[str, ...]
    fitting: tuple[bool, ...]
    """(hits) Whether each has all that was wanted by now."""
    possible: int
    """Products of the catalogue that have all that is wanted by now."""


def read_shop(folder: Path) -> dict[str, Product]:
    """Id → product, from a written shop."""
    with (folder / "products.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: read_product(row) for row in csv.DictReader(file)}


def conversations() -> list[dict[str, object]]:
    return [json.loads(line) for line in CONVERSATIONS.read_text(encoding="utf-8").splitlines()]


def generated(products: Mapping[str, Product], count: int, seed: int = 0) -> list[dict[str, object]]:
    """Conversations of the same form, in the phrases of the wardrobe world that are kept for the test.

    Each step changes another attribute of what was wanted so far, and the shop has a product that fits in the end.
    """
    conversations: list[dict[str, object]] = []
    numbers = itertools.count()
    while len(conversations) < count:
        number = next(numbers)
        dice = Dice(f"conversations/{seed}/{number}")
        start = now = products[dice.choose(sorted(products))]
        wanted, steps = {"category": start.category}, []
        for attribute in dice.shuffle(sorted(choices(start.category)))[:3]:
            value = dice.choose([one for one in choices(start.category)[attribute] if one != getattr(start, attribute)])
            then = now.with_values(**{attribute: value})
            wanted = {**wanted, attribute: value}
            steps.append({"say": grammar.request(now, then, dice, "test"), "wanted": wanted})
            now = then
        if any(product.fits(wanted) for product in products.values()):
            conversations.append({"start": start.attributes, "steps": steps})
    return conversations


def start_of(conversation: Mapping[str, object], products: Mapping[str, Product]) -> str:
    """The first product that has the attributes of the start; of the nearest, where none has all."""
    wanted = dict(conversation["start"])  # type: ignore[call-overload]

    def agreement(identity: str) -> int:
        product = products[identity]
        if product.category != wanted["category"]:
            return -1
        return sum(product.fits({name: value}) for name, value in wanted.items())

    return max(products, key=agreement)


def played(conversation: Mapping[str, object], products: Mapping[str, Product], search: Search) -> list[Step]:
    """A conversation from its start to its end."""
    reference, references, steps, sentences = start_of(conversation, products), [], [], []
    for step in conversation["steps"]:  # type: ignore[attr-defined]
        references.append(reference)
        sentences.append(step["say"])
        hits = search(reference, sentences, step["wanted"], references)[:TOP]
        fitting = tuple(products[hit].fits(step["wanted"]) for hit in hits)
        possible = sum(product.fits(step["wanted"]) for product in products.values())
        steps.append(Step(step["say"], step["wanted"], reference, tuple(hits), fitting, possible))
        reference = hits[0]
    return steps


def by_attributes(products: Mapping[str, Product], *, forgetful: bool = False) -> Search:
    """Answers without a model: the product that has most of what is wanted, then most of what the reference has.

    `forgetful`: what was wanted before counts no more than whatever else the reference has, except for the category.
    """
    before: dict[str, str] = {}

    def search(
        reference: str, sentences: Sequence[str], wanted: Mapping[str, str], excluded: Sequence[str]
    ) -> list[str]:
        start, all_wanted = products[reference].attributes, wanted
        if forgetful and len(sentences) > 1:
            wanted = {name: value for name, value in wanted.items() if name == "category" or before.get(name) != value}
        before.clear()
        before.update(all_wanted)

        def agreement(identity: str) -> tuple[int, int]:
            product = products[identity]
            unchanged = sum(getattr(product, name) == value for name, value in start.items())
            return sum(getattr(product, name) in value.split("|") for name, value in wanted.items()), unchanged

        return sorted((one for one in products if one not in excluded), key=agreement, reverse=True)

    return search


def by_model(catalogue: Path, run: Path | None, same: str | None, *, forgetful: bool = False) -> Search:
    import itma

    opened = itma.Catalogue.open(catalogue, run)
    known = {one.rsplit("/", 1)[-1].removesuffix(".jpg"): one for one in opened.ids}

    def search(reference: str, sentences: Sequence[str], _: Mapping[str, str], excluded: Sequence[str]) -> list[str]:
        where = None if same is None else {same: opened.get(known[reference]).fields[same]}
        hits = opened.search(
            id=known[reference],
            text=sentences[-1],
            earlier=() if forgetful else sentences[:-1],
            k=TOP,
            exclude=[known[one] for one in excluded],
            where=where,
        )
        return [hit.id.rsplit("/", 1)[-1].removesuffix(".jpg") for hit in hits]

    return search


def report(path: Path, plays: Sequence[Sequence[Step]], products: Mapping[str, Product], images: Path) -> None:
    """An HTML page of the conversations that failed: every step, its first hits, what was wanted."""
    home = Path(os.path.relpath(images, path.parent)).as_posix()

    def figure(identity: str, kind: str) -> tuple[str, str, str]:
        return f"{home}/{identity}.jpg", str(products[identity]), kind

    failed = []
    for number, steps in enumerate(plays, 1):
        if steps[-1].fitting[0]:
            continue
        turns = []
        for step in steps:
            wanted = ", ".join(f"{name} {value}" for name, value in step.wanted.items())
            strip = [figure(step.reference, "start")]
            strip += [
                figure(hit, "right" if right else "wrong") for hit, right in zip(step.hits, step.fitting, strict=True)
            ]
            turns.append(TurnOnPage(f"“{step.say}” – wanted: {wanted} ({step.possible} in the shop)", strip))
        failed.append((f"{number}{' – right in the first five' if any(steps[-1].fitting) else ''}", turns))
    write_text(path, conversations_page("Conversations that did not end at a fitting product", summary(plays), failed))


def summary(plays: Sequence[Sequence[Step]]) -> str:
    """The counts, and which attributes the last answers lack."""
    first = sum(steps[-1].fitting[0] for steps in plays)
    among = sum(any(steps[-1].fitting) for steps in plays)
    lines = [
        f"{first} of {len(plays)} conversations end at a fitting product; {among} have one in the first {TOP} hits"
    ]
    for number in range(len(plays[0])):
        right = sum(steps[number].fitting[0] for steps in plays)
        nothing = sum(not steps[number].possible for steps in plays)
        lines.append(f"  after step {number + 1}: {right} right; the shop has no fitting product for {nothing}")
    return "\n".join(lines)


def lacking(plays: Sequence[Sequence[Step]], products: Mapping[str, Product]) -> Counter[str]:
    """Attribute → how many last hits have another value than was wanted."""
    missing: Counter[str] = Counter()
    for steps in plays:
        last, product = steps[-1], products[steps[-1].hits[0]]
        missing.update(name for name, value in last.wanted.items() if not product.fits({name: value}))
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shop", type=Path, required=True, help="the folder shop of a written world")
    parser.add_argument("--catalogue", type=Path, help="made by itma index from the shop's images")
    parser.add_argument("--run", type=Path, help="the model, where the catalogue is to be opened with another")
    parser.add_argument("--same", metavar="COLUMN", help="a condition: the reference's own value, e.g. of category")
    parser.add_argument("--forgetful", action="store_true", help="each search is told the last sentence alone")
    parser.add_argument(
        "--generated", type=int, metavar="N", help="instead: N conversations in phrases that no training said"
    )
    parser.add_argument("--report", type=Path, default=Path("conversations.html"))
    parser.add_argument("--model-free", action="store_true", help="answer from the attributes, to check the script")
    options = parser.parse_args()
    products = read_shop(options.shop)
    if options.catalogue is None and not options.model_free:
        parser.error("give --catalogue, or --model-free")
    if options.model_free:
        search = by_attributes(products, forgetful=options.forgetful)
    else:
        search = by_model(options.catalogue, options.run, options.same, forgetful=options.forgetful)
    talks = generated(products, options.generated) if options.generated else conversations()
    plays = [played(one, products, search) for one in talks]
    print(summary(plays))
    wrong = ", ".join(f"{name} {count}" for name, count in lacking(plays, products).most_common())
    print(f"  attributes that the last hits lack: {wrong or 'none'}")
    report(options.report, plays, products, options.shop / "images")
    print(f"  failures: {options.report}")


if __name__ == "__main__":
    main()
