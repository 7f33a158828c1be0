"""Write docs/explanation.jpg, one query of the shapes world explained: `python docs/make_explanation.py RUN [ROW]`."""

import sys
from pathlib import Path

import numpy as np

from itma import Retriever
from itma.api import read_run
from itma.data.sources import load
from itma.evaluation.evaluate import evaluate
from itma.explanations.explaining import case_in, explain_case


def main() -> None:
    """Embed, rank, explain, draw."""
    run, *rows = sys.argv[1:]
    model, data = Retriever.load(run), read_run(run).data
    (evaluation,) = evaluate(model, load(data, "test", progress=True).triplets, progress=True)
    kinds = np.array(evaluation.triplets.kinds)
    row = int(rows[0]) if rows else int(np.flatnonzero((kinds == "make colour") & (evaluation.ranks == 1))[0])
    explanation = explain_case(case_in(model, evaluation, row), ["all"])
    print(explanation)
    explanation.draw().save(Path(__file__).with_name("explanation.jpg"), quality=88, optimize=True)


if __name__ == "__main__":
    main()
