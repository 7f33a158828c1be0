"""Conversations: as data, as a tracker reads them, as a simulated user holds them, and what a study says of them."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

import itma
from itma import api
from itma.data.conversations import Conversation, Turn, join_turns, split_turns
from itma.data.datasets import DataConfig, Dataset, dataset_named
from itma.data.images import Preprocess
from itma.data.synthetic.generated import Dice
from itma.data.synthetic.shapes import Change
from itma.data.synthetic.shapes.scenes import Scene
from itma.data.synthetic.user import Conversations, User
from itma.data.synthetic.wardrobe.products import Product
from itma.data.triplets import Triplets
from itma.errors import ConfigError, DataError, ExplanationError, RunError
from itma.evaluation.conversations import ConversationStudy, play
from itma.explanations.explaining import explain
from itma.export.export import export
from itma.models.embedder import Embedder
from itma.models.retriever import Retriever
from itma.models.trackers import REGISTRY
from itma.study import study_conversation
from tests import made_up, shop_table
from tests.forked import Program
from tests.test_data_sets import call

ONE, TWO, THREE = "make red cube", "make red cube then make blue cube", "make blue cube then make red cube then red"
TALKS = [ONE, TWO, THREE]


# --- as data ----------------------------------------------------------------------------------------------------------


def test_each_turn_of_a_conversation_is_a_row_with_all_that_was_said() -> None:
    talk = Conversation((Turn("a", "red"), Turn("b", "long"), Turn("a", "new")), "t")
    assert list(talk.rows()) == [("a", "red", "t"), ("b", "red then long", "t"), ("a", "red then long then new", "t")]


def test_sentences_that_are_joined_come_apart_again() -> None:
    assert split_turns(join_turns(["red", "with a belt", "long"])) == ["red", "with a belt", "long"]


@pytest.mark.parametrize(
    ("turns", "problem"), [((), "has no turn"), ((Turn(1, "red"), Turn(2, "long")), "turn 2: its image is the target")]
)
def test_a_conversation_that_cannot_be_is_refused(turns: tuple[Turn[int], ...], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        Conversation(turns, 2)


# --- trackers ---------------------------------------------------------------------------------------------------------


def model(tracker: str = "recurrent", seed: int = 0) -> Retriever:
    config = replace(made_up.CONFIG, tracker=tracker, tracker_options=None)
    return Retriever.build(config, TALKS, seed=seed)


def images(count: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 24), dtype=torch.uint8, generator=random)


@pytest.mark.parametrize("tracker", REGISTRY)
def test_a_saved_tracker_answers_as_before(tracker: str, tmp_path: Path) -> None:
    retriever = model(tracker)
    retriever.save(tmp_path)
    opened = Retriever.load(tmp_path)
    assert torch.equal(opened.embed_queries(images(3), TALKS), retriever.embed_queries(images(3), TALKS))
    assert opened.fingerprint() == retriever.fingerprint() != model(tracker, seed=1).fingerprint()


@pytest.mark.parametrize("tracker", REGISTRY)
def test_every_parameter_gets_a_gradient_where_there_are_several_turns(tracker: str) -> None:
    retriever = model(tracker)
    tokens, turns = retriever.read(TALKS)
    pixels = retriever.preprocess.normalise(images(6))
    queries, targets = retriever(pixels, torch.arange(3), torch.arange(3, 6), tokens, turns)
    logits = retriever.logits(queries, targets)
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in retriever.named_parameters():
        if not name.endswith("attention.key.bias"):  # softmax takes it out again
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("tracker", REGISTRY)
def test_training_and_answering_read_a_conversation_alike(tracker: str) -> None:
    retriever = model(tracker)
    tokens, turns = retriever.read(TALKS)
    with torch.no_grad():
        trained, _ = retriever(
            retriever.preprocess.normalise(images(3)), torch.tensor([0, -1, 2]), torch.arange(3), tokens, turns
        )
    torch.testing.assert_close(trained[[0, 2]], retriever.embed_queries(images(3)[[0, 2]], [ONE, THREE]))
    torch.testing.assert_close(trained[1:2], retriever.embed_queries(None, [TWO]))


@pytest.mark.parametrize("tracker", REGISTRY)
def test_a_conversation_does_not_depend_on_its_neighbours(tracker: str) -> None:
    retriever = model(tracker)
    alone = torch.cat([retriever.embed_queries(images(3)[row : row + 1], [TALKS[row]]) for row in range(3)])
    torch.testing.assert_close(retriever.embed_queries(images(3), TALKS), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tracker", REGISTRY)
def test_what_was_said_earlier_and_its_order_count(tracker: str) -> None:
    retriever = model(tracker)
    answers = retriever.embed_queries(
        images(1).expand(3, -1, -1, -1), ["blue", "cube then red then blue", "red then cube then blue"]
    )
    for one, other in itertools.combinations(answers, 2):
        assert not torch.allclose(one, other, atol=1e-6)


def test_turns_without_a_known_word_are_passed_over() -> None:
    retriever = model()
    assert retriever.turns(["red then ... then blue", "!"])[0] == ["red", "blue", "!"]
    assert torch.equal(retriever.embed_queries(None, ["... then red"]), retriever.embed_queries(None, ["red"]))


def test_a_frozen_tracker_stays_as_it_is() -> None:
    retriever = model()
    retriever.freeze(["tracker"])
    assert {name for name, each in retriever.named_parameters() if not each.requires_grad} == {
        name for name, _ in retriever.named_parameters() if name.startswith("tracker.")
    }


def test_models_from_before_there_were_trackers_keep_their_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = made_up.model()
    now, shape = retriever.fingerprint(), retriever._shape()
    assert shape["model"].pop("tracker") == "joined" and shape["model"].pop("tracker_options") == {}
    monkeypatch.setattr(retriever, "_shape", lambda: shape)
    assert retriever.fingerprint() == now


def test_a_width_that_cannot_be_is_refused_by_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"model\.tracker_options\.width=0 must be at least 1"):
        api.settings_for(changes={"model.tracker": "recurrent", "model.tracker_options.width": "0"})


def test_a_recurrent_state_is_not_exported_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the tracker 'recurrent', which no graph of ONNX holds"):
        export(model(), tmp_path / "onnx")


@pytest.mark.parametrize("method", ["attention", "gradients"])
def test_what_looks_at_one_sentence_refuses_several_turns(method: str, tmp_path: Path) -> None:
    Image.new("RGB", (24, 16), "red").save(tmp_path / "a.png")
    ask = lambda text: explain(  # noqa: E731
        model(), tmp_path / "a.png", text, target=tmp_path / "a.png", methods=[method], steps=2
    )
    with pytest.raises(ExplanationError, match="reads a conversation turn by turn"):
        ask(TWO)
    ask(ONE)


# --- the simulated user -----------------------------------------------------------------------------------------------


def user_of(world: str, split: str = "test") -> User[Any]:
    return dataset_named(world)(DataConfig(world, size="tiny")).user(split)


def test_what_the_user_of_shapes_says_leads_to_the_target() -> None:
    user = cast(User[Scene], user_of("shapes"))
    for start, target in user.pairs(20, 0):
        scene, dice = user.truths[start], Dice(f"{start}")
        for _ in range(12):
            user.truths = (*user.truths[:start], scene, *user.truths[start + 1 :])
            wishes = user.wishes(start, target, dice)
            if not wishes:
                break
            scene = Change.parse(wishes[0].sentence).apply(scene)
        assert scene == user.truths[target]


def test_the_user_of_wardrobe_asks_for_what_differs_and_for_the_category_first() -> None:
    user = cast(User[Product], user_of("wardrobe"))
    all_kinds = set()
    for start, target in itertools.permutations(range(10), 2):
        one, other = user.truths[start], user.truths[target]
        kinds = {wish.kind for wish in user.wishes(start, target, Dice("a"))}
        if one.category != other.category:
            assert kinds == {"category"}
        else:
            assert kinds == {name for name, value in other.attributes.items() if getattr(one, name) != value}
        all_kinds |= kinds
    assert len(all_kinds) > 3


@pytest.mark.parametrize("world", ["shapes", "wardrobe"])
def test_a_conversation_starts_at_what_is_wrong_in_two_ways(world: str) -> None:
    user = user_of(world)
    pairs = user.pairs(10, 3)
    assert pairs == user.pairs(10, 3) != user.pairs(10, 4)
    for start, target in pairs:
        facts = user.facts(start), user.facts(target)
        assert user.labels[start] != user.labels[target] and facts[0] != facts[1]


@pytest.mark.parametrize("world", ["shapes", "wardrobe"])
def test_all_turns_of_a_conversation_are_in_the_batch(world: str) -> None:
    data = dataset_named(world)
    split = data(DataConfig(world, size="tiny", conversations=0.5, turns=3)).load("train")
    plain = data(DataConfig(world, size="tiny")).load("train").triplets
    rows = np.arange(18)
    draw = cast(Conversations, split.triplets.draw)
    draw.rest = None
    samples = split.triplets.draw_samples(rows, np.random.Generator(np.random.PCG64(0)))
    same = [samples.feedback[row] == plain.feedback[row] for row in rows.tolist()]
    talks = [row for row in rows.tolist() if not same[row]]
    assert len(talks) == 9
    by_length = sorted(talks, key=lambda row: len(split_turns(samples.feedback[row])))
    assert [len(split_turns(samples.feedback[row])) for row in by_length] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for last in by_length[-3:]:
        sentence = samples.feedback[last]
        own = [row for row in talks if sentence.startswith(samples.feedback[row])]
        assert len(own) == 3 and len({int(samples.targets[row]) for row in own}) == 1


def test_only_data_with_a_user_hold_conversations_and_of_two_turns_at_least() -> None:
    message = r"data\.conversations=0\.5 wants a user .* shapes, wardrobe or products; leave it out for multiturn"
    with pytest.raises(ConfigError, match=message):
        DataConfig("multiturn", conversations=0.5)
    with pytest.raises(ConfigError, match=r"data\.turns=1: a conversation has at least 2 turns"):
        DataConfig("shapes", turns=1)


def shop(tmp_path: Path, **settings: Any) -> Dataset:
    root = shop_table.shop(tmp_path / "shop", shop_table.items(4))
    return dataset_named("products")(DataConfig("products", root=str(root), **settings))


def test_the_user_of_a_shop_asks_for_one_attribute_that_is_wrong_at_a_time(tmp_path: Path) -> None:
    for split in ("train", "test"):
        user = shop(tmp_path).user(split)
        for start, target in user.pairs(20, 0):
            here, there = user.facts(start), user.facts(target)
            wishes = user.wishes(start, target, Dice(f"{start}"))
            spoken = [wish.fact for wish in wishes]
            assert len(set(spoken)) == len(spoken) >= 2 and all(here[name] != there[name] for name in spoken)
            assert user.labels[start] != user.labels[target]
            if split == "test":  # what makes an answer right
                assert set(spoken) == {name for name in ("kind", "colour") if here[name] != there[name]}
            else:
                assert set(spoken) == {name for name in there if here[name] != there[name]}


def test_what_a_shop_does_not_say_of_a_product_is_not_wished(tmp_path: Path) -> None:
    rows = [{**row, "pattern": "" if number % 3 else row["pattern"]} for number, row in enumerate(shop_table.items(4))]
    root = shop_table.shop(tmp_path / "shop", rows)
    user = dataset_named("products")(DataConfig("products", root=str(root))).user("train")
    images = range(len(user.labels))
    spoken = {
        wish.fact in user.facts(target) and (wish.fact != "pattern" or "pattern" in user.facts(reference))
        for reference, target in itertools.islice(itertools.permutations(images, 2), 2_000)
        for wish in user.wishes(reference, target, Dice("a"))
    }
    assert spoken == {True}


def test_a_shop_teaches_by_conversations_whose_images_are_there(tmp_path: Path) -> None:
    triplets = shop(tmp_path, conversations=1.0, turns=3).load("train").triplets
    present = np.arange(len(triplets.labels)) % 4 > 0
    rows = np.flatnonzero(present[triplets.targets])[:12]
    samples = replace(triplets, present=present).draw_samples(rows, np.random.Generator(np.random.PCG64(0)))
    assert sorted(len(split_turns(text)) for text in samples.feedback) == [1] * 4 + [2] * 4 + [3] * 4
    assert present[samples.references].all() and present[samples.targets].all()


def test_a_run_on_a_shop_is_studied_on_the_images_that_its_protocol_ranks(tmp_path: Path) -> None:
    root = shop_table.shop(tmp_path / "shop", shop_table.items(4))
    changes = {"data.root": str(root), "data.conversations": "0.5", "train.steps": "1"}
    changes |= {"model.preprocess.height": "16", "model.preprocess.width": "16", "train.hold_out": "0"}
    run = api.train("products", preset="tiny", model="add", changes=changes, out=tmp_path / "run", device="cpu")
    result = study_conversation(run, conversations=5, turns=2)
    assert result.folder == run / "conversations-test" and result.study.gallery == 48
    assert {kind.kind for kind in result.study.kinds} <= {"kind", "colour"}
    assert "<h2>conversation 1</h2>" in (result.folder / "conversations.html").read_text()


def test_data_whose_truth_nobody_knows_have_no_user() -> None:
    with pytest.raises(DataError, match=r"of multiturn that is not known; .* --protocol multiturn/by-turn"):
        dataset_named("multiturn")(DataConfig("multiturn")).user("val")


# --- playing ----------------------------------------------------------------------------------------------------------


class Numbered:
    """Images whose first pixel is their number."""

    def __init__(self, count: int) -> None:
        self.names = [str(number) for number in range(count)]

    def load(self, indices: Sequence[int], preprocess: object) -> torch.Tensor:
        return torch.tensor(indices, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)


class Oracle:
    """Knows the facts of each image, and does to them what the last sentence says; a deaf one does nothing."""

    preprocess = Preprocess(height=2, width=2)

    def __init__(self, user: User[Scene], *, deaf: bool = False) -> None:
        self.user, self.deaf, self.sentences = user, deaf, cast(list[str], [])
        facts = [fact for image in range(len(user.labels)) for fact in user.facts(image).items()]
        self.number = {fact: index for index, fact in enumerate(dict.fromkeys(facts))}

    def vector(self, image: int) -> torch.Tensor:
        row = torch.zeros(len(self.number))
        row[[self.number[fact] for fact in self.user.facts(image).items()]] = 1
        return row / row.norm()

    def embed_images(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.vector(int(one[0, 0, 0])) for one in pixels])

    def embed_queries(self, pixels: torch.Tensor, feedback: Sequence[str]) -> torch.Tensor:
        self.sentences += feedback
        rows = []
        for one, text in zip(pixels, feedback, strict=True):
            image = int(one[0, 0, 0])
            scene = Change.parse(split_turns(text)[-1]).apply(self.user.truths[image])
            alike = [other for other, truth in enumerate(self.user.truths) if truth == scene]
            rows.append(self.vector(alike[0] if alike and not self.deaf else image))
        return torch.stack(rows)


def played(*, deaf: bool = False, forgetful: bool = False, **options: int) -> tuple[Any, Oracle]:
    user = cast(User[Scene], user_of("shapes"))
    oracle = Oracle(user, deaf=deaf)
    triplets = SimpleNamespace(name="shapes/test", labels=user.labels, images=Numbered(len(user.labels)), present=None)
    return play(cast(Embedder, oracle), cast(Triplets, triplets), user, forgetful=forgetful, **options), oracle


def test_who_does_what_is_said_finds_more_than_who_does_not() -> None:
    (heard, _), (deaf, _) = (played(deaf=deaf, count=60, turns=3) for deaf in (False, True))
    study, other = (
        ConversationStudy.of(one, 3, model="", data="", gallery=24, seed=0, forgetful=False) for one in (heard, deaf)
    )
    assert study.turns[2].success.mean > other.turns[2].success.mean + 0.2
    assert study.turns[2].rank.mean < other.turns[2].rank.mean
    assert [turn.success.mean for turn in study.turns] == sorted(turn.success.mean for turn in study.turns)


def test_the_best_hit_is_the_next_reference_and_nothing_is_shown_twice() -> None:
    talks, _ = played(deaf=True, count=30, turns=4)
    for talk in talks:
        for one, following in itertools.pairwise(talk.turns):
            assert following.reference == one.hits[0] and one.rank > 1
        references = [turn.reference for turn in talk.turns]
        assert len(set(references)) == len(references) and not set(references) & set(talk.turns[-1].hits)


def test_a_rank_counts_what_scores_higher_among_what_was_not_shown() -> None:
    talks, oracle = played(deaf=True, count=10, turns=2)
    gallery = torch.stack([oracle.vector(image) for image in range(24)])
    for talk in talks:
        turn = talk.turns[0]
        scores = gallery @ oracle.vector(turn.reference)
        right = torch.tensor(oracle.user.labels == oracle.user.labels[talk.target])
        higher = {*(scores > scores[right].max()).nonzero()[:, 0].tolist()} - {turn.reference}
        assert turn.rank == 1 + len(higher)


def test_a_model_is_told_all_that_was_said_or_the_last_sentence_alone() -> None:
    for forgetful, most in ((False, 3), (True, 1)):
        _, oracle = played(deaf=True, forgetful=forgetful, count=5, turns=3)
        assert max(len(split_turns(text)) for text in oracle.sentences) == most


def test_conversations_are_the_same_for_the_same_seed() -> None:
    assert played(count=8, turns=3)[0] == played(count=8, turns=3)[0] != played(count=8, turns=3, seed=1)[0]


def test_a_rank_stays_one_after_success() -> None:
    talk = next(one for one in played(count=40, turns=4)[0] if one.succeeded and len(one.turns) < 4)
    assert [talk.rank(turn) for turn in range(len(talk.turns), 5)] == [1] * (5 - len(talk.turns))


# --- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talk") / "run"
    changes = {
        "data.conversations": "0.6",
        "model.tracker": "recurrent",
        "model.tracker_options.width": "8",
        "train.steps": "2",
    }
    return api.train("shapes", preset="tiny", changes=changes, out=folder)


def test_a_run_says_how_it_read_conversations_and_knows_their_joint(run: Path) -> None:
    settings = api.read_run(run)
    assert settings.model.tracker == "recurrent" and settings.model.text_encoder.earlier
    opened = Retriever.load(run)
    assert opened.reads_earlier and "then" in opened.tokenizer.vocabulary


def test_a_search_in_a_new_process_uses_what_was_said_earlier(run: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    made_up.photos(tmp_path / "images", ["a.png", "b.png", "c.png"])
    (tmp_path / "images" / "broken.png").unlink()
    itma.index(run, tmp_path / "images", tmp_path / "catalogue")
    code = (
        "import sys, itma, json; c = itma.Catalogue.open(sys.argv[1])\n"
        "ask = lambda *e: [h.score for h in c.search(id='a.png', text='remove red cube', earlier=e, k=2)]\n"
        "print(json.dumps([ask(), ask('add large blue sphere to top-left'), ask('remove green cube')]))"
    )
    with Program(code, tmp_path / "catalogue") as process:
        none, one, other = json.loads(process.stdout.read())
    assert none != one and one != other and none != other


def test_the_command_writes_what_conversations_came_to(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = call("study", "conversation", run, "--conversations", "8", "--turns", "2", "--out", out)
    assert "success by then" in output and f"written to {out}" in output, output
    plain = json.loads((out / "conversations.json").read_text())
    assert [turn["turn"] for turn in plain["turns"]] == [1, 2] and plain["conversations"] == 8
    assert sum(kind["wishes"] for kind in plain["kinds"]) <= 16
    text = (out / "conversations.md").read_text()
    assert text.startswith("# Conversations") and "| kind of wish |" in text
    page = (out / "conversations.html").read_text()
    failed = round(8 * (1 - plain["turns"][1]["success"]["mean"]))
    assert page.count("<h2>") == failed and "data:image/png;base64," in page


def test_a_study_of_one_turn_is_refused(run: Path) -> None:
    output = call("study", "conversation", run, "--turns", "1")
    assert "turns=1: a conversation has at least 2 turns" in output and "itma evaluate" in output


def test_a_written_world_that_was_moved_is_found_and_another_is_refused(run: Path, tmp_path: Path) -> None:
    call("generate", "shapes", tmp_path / "moved", "--size", "tiny")
    options = {"conversations": 4, "turns": 2}
    study = study_conversation(run, **options, out=tmp_path / "drawn").study
    assert study_conversation(run, **options, root=tmp_path / "moved", out=tmp_path / "read").study == study
    annotations = tmp_path / "moved" / "annotations.json"
    plain = json.loads(annotations.read_text())
    plain["test"]["labels"][0] += 1
    annotations.write_text(json.dumps(plain))
    with pytest.raises(DataError, match="the images of shapes/test are others than the user knows"):
        study_conversation(run, **options, root=tmp_path / "moved", out=tmp_path / "other")


def test_a_run_on_data_without_known_truth_is_refused(tmp_path: Path) -> None:
    data = made_up.triplets()
    changes = {"train.steps": "1", "train.evaluate_every": "1"}
    folder = api.train("mine", preset="tiny", changes=changes, out=tmp_path / "run", triplets=(data, data))
    with pytest.raises(RunError, match="external data 'mine', of which nobody knows what is true"):
        study_conversation(folder)
