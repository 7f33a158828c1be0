"""A checkpoint of TIRG's code for a generated world in CSS's layout is imported and measured as that code does."""

import csv
from pathlib import Path

import numpy as np

from itma import api
from itma.data.datasets.css import ANNOTATION
from itma.models.retriever import Retriever
from tests import tirg_checkpoint as tirg
from tests.test_data_sets import call


def test_an_imported_checkpoint_of_tirg_ranks_a_written_world_as_tirg_s_code_to_the_last_query(tmp_path: Path) -> None:
    scenes = api.generate("shapes", tmp_path / "scenes", size="tiny", layout="css")
    annotation = np.load(scenes / ANNOTATION, allow_pickle=True, encoding="latin1").item()
    ids = tirg.vocabulary([change["to_str"] for change in annotation["train"]["mods"]])
    checkpoint = tirg.write(tmp_path / "latest_checkpoint.pth", len(ids))
    output = call("import", checkpoint, "--words", scenes, "--out", tmp_path / "run", "--size", "48x32")
    assert "tirg of TIRG's code as 'tirg', 30 steps" in output, output
    assert (size := Retriever.load(tmp_path / "run").preprocess).width == 48 and size.height == 32
    call("evaluate", tmp_path / "run", "css", "--root", scenes, "--out", tmp_path / "report")
    with (tmp_path / "report" / "ranks.csv").open(newline="") as file:
        ranks = [int(row["rank"]) for row in csv.DictReader(file)]
    expected = tirg.ranks(scenes, annotation, ids, tirg.state(len(ids)))
    assert ranks == expected
    assert len(set(expected)) > 5 and 0 < np.mean(np.array(expected) <= 10) < 1  # ranks of chance alone say little


def test_a_checkpoint_with_words_of_another_world_is_refused(tmp_path: Path) -> None:
    scenes = api.generate("shapes", tmp_path / "scenes", size="tiny", layout="css")
    checkpoint = tirg.write(tmp_path / "latest_checkpoint.pth", 5)
    output = call("import", checkpoint, "--words", scenes, "--out", tmp_path / "run", "--size", "48x32")
    assert (
        "embeddings for 5 besides <UNK>; it was trained on other captions" in output and not (tmp_path / "run").exists()
    )
