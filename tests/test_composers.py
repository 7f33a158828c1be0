"""Composers against their published formulas, computed again in the plainest way from the same weights.

Shapes: B queries, C channels, H rows, W columns, D = `dim` features.
"""

import math
from collections.abc import Mapping

import pytest
import torch

from itma.errors import ConfigError
from itma.models.composers import Composer, FeatureShapes, composer_named
from itma.models.text_encoders.base import Words

B, C, H, W, D = 3, 8, 3, 4, 6
SHAPES = FeatureShapes((C,), ((H, W),), dim=D)
Weights = Mapping[str, torch.Tensor]


def random_composer(name: str, shapes: FeatureShapes = SHAPES, **options: object) -> tuple[Composer, Weights]:
    """A composer in evaluation mode whose weights and statistics are random, and those in float64."""
    kind = composer_named(name)
    torch.manual_seed(0)
    composer = kind(kind.Options(**options), shapes).double().eval().requires_grad_(False)
    for key, tensor in composer.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5 if key.endswith("var") else torch.randn_like(tensor) / 2)
    return composer, composer.state_dict()


def example(*grids: tuple[int, int, int]) -> tuple[list[torch.Tensor], Words]:
    """Feature maps of the references, by default one, and a sentence for each."""
    random = torch.Generator().manual_seed(1)
    maps = [torch.randn(B, *grid, generator=random, dtype=torch.float64) for grid in grids or [(C, H, W)]]
    sentence = torch.randn(B, D, generator=random, dtype=torch.float64)
    return maps, Words(sentence[:, None], torch.ones(B, 1, dtype=torch.bool), sentence)


def linear(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    """Weight · row + bias; of a 1×1 convolution too, cells last."""
    weight = weights[f"{name}.weight"].flatten(1)
    return rows @ weight.T + weights.get(f"{name}.bias", torch.zeros(len(weight)))


def norm(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    """A batch norm in evaluation mode."""
    standard = (rows - weights[f"{name}.running_mean"]) / (weights[f"{name}.running_var"] + 1e-5).sqrt()
    return standard * weights.get(f"{name}.weight", 1) + weights.get(f"{name}.bias", 0)


def relu(rows: torch.Tensor) -> torch.Tensor:
    return rows * (rows > 0)


def sigmoid(rows: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-rows))


def softmax(rows: torch.Tensor) -> torch.Tensor:
    """Over the last axis."""
    return torch.exp(rows) / torch.exp(rows).sum(-1, keepdim=True)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.square().sum(-1, keepdim=True).sqrt()


def cells(map_CHW: torch.Tensor) -> torch.Tensor:
    """(cells, channels), row by row."""
    return torch.stack(
        [map_CHW[:, row, column] for row in range(map_CHW.shape[1]) for column in range(map_CHW.shape[2])]
    )


def around(cells_NC: torch.Tensor, weight: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A convolution that reaches as far to each side as its kernel does from its middle: cells → cells."""
    out, _, height, width = weight.shape
    result = torch.zeros(rows * columns, out, dtype=torch.float64)
    for row in range(rows):
        for column in range(columns):
            for y in range(height):
                for x in range(width):
                    from_row, from_column = row + y - (height - 1) // 2, column + x - (width - 1) // 2
                    if 0 <= from_row < rows and 0 <= from_column < columns:
                        cell = cells_NC[from_row * columns + from_column]
                        result[row * columns + column] += weight[:, :, y, x] @ cell
    return result


def test_film_is_the_published_formula() -> None:
    composer, weights = random_composer("film", blocks=2)
    (maps_BCHW,), words = example()
    for query, (map_CHW, sentence) in enumerate(zip(maps_BCHW, words.sentence_BD, strict=True)):
        modulation = linear(weights, "modulation", sentence).view(2, 2, C)
        x = cells(map_CHW)
        for block, (gain, shift) in enumerate(modulation):
            x = relu(linear(weights, f"blocks.{block}.first", x))
            changed = norm(weights, f"blocks.{block}.norm", around(x, weights[f"blocks.{block}.second.weight"], H, W))
            x = x + relu((1 + gain) * changed + shift)
        expected = linear(weights, "image.output", x.mean(0))
        torch.testing.assert_close(composer.embed_queries([maps_BCHW], words)[query], expected)


def test_mrn_is_the_published_formula() -> None:
    composer, weights = random_composer("mrn", blocks=2)
    maps, words = example()
    image, h = composer.embed_images(maps), words.sentence_BD
    for block in ("blocks.0", "blocks.1"):
        from_image = torch.tanh(
            linear(weights, f"{block}.image.2.1", torch.tanh(linear(weights, f"{block}.image.0.1", image)))
        )
        h = linear(weights, f"{block}.shortcut.1", h) + torch.tanh(linear(weights, f"{block}.text.0.1", h)) * from_image
    torch.testing.assert_close(composer.embed_queries(maps, words), h)


def test_relationship_averages_a_network_of_all_pairs_of_cells_with_the_sentence() -> None:
    composer, weights = random_composer("relationship", width=5, pair_layers=2, layers=2)
    (maps_BCHW,), words = example()
    first = torch.cat([weights["one.weight"], weights["other.weight"], weights["text.weight"]], 1)
    for query, (map_CHW, sentence) in enumerate(zip(maps_BCHW, words.sentence_BD, strict=True)):
        total = torch.zeros(5, dtype=torch.float64)
        for one in cells(map_CHW):
            for other in cells(map_CHW):
                pair = relu(first @ torch.cat([one, other, sentence]) + weights["one.bias"])
                total += relu(linear(weights, "pair.1", pair))
        expected = linear(weights, "whole.3", relu(linear(weights, "whole.0", total / (H * W) ** 2)))
        torch.testing.assert_close(composer.embed_queries([maps_BCHW], words)[query], expected)


def test_composeae_turns_the_image_in_complex_space() -> None:
    composer, weights = random_composer("composeae")
    maps, words = example()
    image, sentence = composer.embed_images(maps), words.sentence_BD

    def turned(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        angles = relu(linear(weights, f"{name}.angles.1", norm(weights, f"{name}.angles.0", sentence)))
        angles = linear(weights, f"{name}.angles.3", angles)
        lengths = relu(linear(weights, f"{name}.lengths.1", norm(weights, f"{name}.lengths.0", image)))
        lengths = linear(weights, f"{name}.lengths.4", lengths)
        return lengths, angles, lengths * torch.exp(1j * angles)

    def mapped(name: str, rows: torch.Tensor) -> torch.Tensor:
        return linear(weights, f"{name}.4", relu(linear(weights, f"{name}.2", relu(norm(weights, f"{name}.0", rows)))))

    _, _, complex_BD = turned("turn")
    whole = mapped("mapping", torch.cat([complex_BD.real, complex_BD.imag], 1))
    lengths, angles, complex_BD = turned("turn_locally")
    rows_B5D = torch.stack([lengths, angles, image, complex_BD.real, complex_BD.imag], 1)
    kernel, bias = weights["convolution.weight"], weights["convolution.bias"]
    maxima = torch.zeros(B, 64, 16, dtype=torch.float64)
    for query in range(B):
        convolved = around(rows_B5D[query].T, kernel[:, :, None], 1, D) + bias
        for cell in range(16):
            first, end = cell * D // 16, math.ceil((cell + 1) * D / 16)
            maxima[query, :, cell] = convolved[first:end].max(0).values
    expected = weights["weights"][0] * mapped("local_mapping", maxima.flatten(1)) + weights["weights"][1] * whole
    torch.testing.assert_close(composer.embed_queries(maps, words), expected)


def test_cosmo_changes_content_by_attention_and_then_style_by_gates() -> None:
    composer, weights = random_composer("cosmo", heads=2)
    (maps_BCHW,), words = example()
    for query, (map_CHW, sentence) in enumerate(zip(maps_BCHW, words.sentence_BD, strict=True)):
        x = cells(map_CHW)
        mean, deviation = x.mean(0), (x - x.mean(0)).square().mean(0).sqrt()
        content = (x - mean) / (deviation.square() + 1e-5).sqrt()
        for block in range(2):
            name, mixed = f"content.{block}", []
            merged = linear(weights, f"{name}.merge", torch.cat([content, sentence.expand(H * W, D)], 1))
            for head in (slice(0, C // 2), slice(C // 2, C)):
                q, k = (linear(weights, f"{name}.{kind}", content)[:, head] for kind in ("query", "key"))
                v = linear(weights, f"{name}.value", merged)[:, head]
                look = softmax(content[:, head] @ linear(weights, f"{name}.text", sentence)[head] / (C // 2) ** 0.5)
                mixed.append((softmax(q @ k.T / (C // 2) ** 0.5) + look) @ v)
            content = content + weights["weights"][block] * linear(weights, f"{name}.output", torch.cat(mixed, 1))
        gates, added = sigmoid(linear(weights, "style.gate", sentence)), linear(weights, "style.text", sentence)
        styled = (gates[C:] * deviation + added[C:]) * content + gates[:C] * mean + added[:C]
        expected = linear(weights, "image.output", styled.mean(0))
        torch.testing.assert_close(composer.embed_queries([maps_BCHW], words)[query], expected)


def test_cosmo_answers_about_a_map_of_one_cell() -> None:
    composer, _ = random_composer("cosmo", heads=2)
    maps, words = example((C, 1, 1))
    assert composer.embed_queries(maps, words).isfinite().all()


def test_val_gates_and_changes_every_level() -> None:
    grids = ((4, H, W), (C, 2, 3))
    shapes = FeatureShapes(tuple(grid[0] for grid in grids), tuple(grid[1:] for grid in grids), dim=D)
    composer, weights = random_composer("val", shapes, heads=2)
    maps, words = example(*grids)
    answers = composer.embed_queries(maps, words)
    for query, sentence in enumerate(words.sentence_BD):
        expected = []
        for level, (channels, rows, columns) in enumerate(grids):
            name, x, half = f"composites.{level}", cells(maps[level][query]), channels // 2
            fused = linear(weights, f"{name}.fuse", torch.cat([x, sentence.expand(len(x), D)], 1))
            by_channel = sigmoid(linear(weights, f"{name}.channel_gate", fused.mean(0)))
            gate = around(fused.mean(1, keepdim=True), weights[f"{name}.cell_gate.weight"], rows, columns)
            by_cell = sigmoid(gate + weights[f"{name}.cell_gate.bias"])
            mixed = []
            for head in (slice(0, half), slice(half, channels)):
                q, k, v = (
                    fused[:, head] @ weights[f"{name}.{kind}.weight"][head].flatten(1).T
                    for kind in ("query", "key", "value")
                )
                mixed.append(softmax(q @ k.T / half**0.5) @ v)
            gated, changed = by_channel * by_cell * x, linear(weights, f"{name}.output", torch.cat(mixed, 1))
            composed = weights[f"{name}.weights"][0] * gated + weights[f"{name}.weights"][1] * changed
            expected.append(unit(linear(weights, f"outputs.{level}", composed.mean(0))))
        torch.testing.assert_close(answers[query], torch.cat(expected))


def test_a_score_of_val_is_the_mean_of_the_levels_cosines() -> None:
    shapes = FeatureShapes((4, C), ((H, W), (2, 3)), dim=D)
    composer, _ = random_composer("val", shapes, heads=2)
    maps, words = example((4, H, W), (C, 2, 3))
    queries, images = unit(composer.embed_queries(maps, words)), unit(composer.embed_images(maps))
    by_level = [unit(queries[:, part]) @ unit(images[:, part]).T for part in (slice(0, D), slice(D, 2 * D))]
    torch.testing.assert_close(queries @ images.T, (by_level[0] + by_level[1]) / 2)


def published_artemis(weights: Weights, image: torch.Tensor, sentence: torch.Tensor, target: torch.Tensor) -> float:
    """Explicit matching plus implicit similarity, as ARTEMIS scores one target."""

    def attention(name: str) -> torch.Tensor:
        return softmax(linear(weights, f"{name}.2", relu(linear(weights, f"{name}.0", unit(sentence)))))

    explicit, implicit = attention("explicit"), attention("implicit")
    matching = unit(linear(weights, "transform", unit(sentence))) @ unit(explicit * target)
    return float(matching + unit(implicit * image) @ unit(implicit * target))


def test_artemis_scores_images_of_equally_strong_features_as_published() -> None:
    composer, weights = random_composer("artemis")
    maps, words = example()
    queries, references = composer.embed_queries(maps, words), composer.embed_images(maps)
    signs = torch.randint(0, 2, (5, D), generator=torch.Generator().manual_seed(2)).double() * 2 - 1
    for query, reference, sentence in zip(queries, references, words.sentence_BD, strict=True):
        for target in unit(signs):
            expected = published_artemis(weights, unit(reference), sentence, target)
            assert float(query @ target) * D**0.5 == pytest.approx(expected)


def error_encoding(weights: Weights, name: str, image: torch.Tensor, sentence: torch.Tensor) -> torch.Tensor:
    """RTIC's composition with two blocks."""

    def leaky(rows: torch.Tensor) -> torch.Tensor:
        return torch.maximum(rows, 0.01 * rows)

    both = leaky(norm(weights, f"{name}.fusion.0", torch.cat([image, sentence], 1)))
    error = linear(weights, f"{name}.fusion.2", both)
    inner = leaky(norm(weights, f"{name}.gate.1", linear(weights, f"{name}.gate.0", error)))
    gate = sigmoid(linear(weights, f"{name}.gate.3", inner))
    for block in (f"{name}.errors.0", f"{name}.errors.1"):
        inner = leaky(norm(weights, f"{block}.1", linear(weights, f"{block}.0", error)))
        inner = leaky(norm(weights, f"{block}.4", linear(weights, f"{block}.3", inner)))
        error = error + linear(weights, f"{block}.6", inner)
    return gate * image + (1 - gate) * error


def test_rtic_is_the_published_formula() -> None:
    composer, weights = random_composer("rtic", blocks=2)
    maps, words = example()
    expected = error_encoding(weights, "composition", composer.embed_images(maps), words.sentence_BD)
    torch.testing.assert_close(composer.embed_queries(maps, words), expected)


def test_rtics_graph_branch_is_the_published_loss_over_the_batchs_graph() -> None:
    composer, weights = random_composer("rtic", blocks=2, graph=0.5, neighbours=0.5)
    maps, words = example()
    queries, image = composer.embed_queries(maps, words), composer.embed_images(maps)
    targets = torch.randn(B, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    nodes = unit(torch.cat([unit(targets), unit(queries)], 1))
    alike = ((nodes @ nodes.T + 1) / 2).clamp(0, 1).fill_diagonal_(1)
    bar = next(bar / 100 for bar in range(100, 0, -1) if (alike >= bar / 100).double().mean() >= 0.5)
    near = (alike >= bar).double()
    assert B < near.sum() < B * B  # some neighbours, not all
    weight = near - torch.eye(B)
    weight = 0.25 * weight / (weight.sum(1, keepdim=True) + 1e-8) + torch.eye(B)
    degree = torch.diag(weight.sum(1) ** -0.5)
    adjacency = (weight @ degree).T @ degree
    rows = error_encoding(weights, "graph.composition", image, words.sentence_BD)
    for layer in ("graph.first", "graph.second"):
        rows = adjacency @ rows @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"]
        rows = relu(rows) if layer == "graph.first" else rows
    chance = sigmoid(queries @ rows.T)
    expected = -0.5 * (near * chance.log() + (1 - near) * (1 - chance).log()).mean()
    loss = composer.own_loss(maps, words, queries, targets)
    torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-4)


def test_rtics_graph_branch_changes_no_answer() -> None:
    plain, _ = random_composer("rtic", blocks=2)
    graph, _ = random_composer("rtic", blocks=2, graph=1.0)
    graph.load_state_dict(plain.state_dict(), strict=False)
    maps, words = example()
    assert torch.equal(graph.embed_queries(maps, words), plain.embed_queries(maps, words))
    assert graph.has_own_loss and not plain.has_own_loss


def layer_norm(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    """MAAF's: by the unbiased deviation, to which 1e-6 is added."""
    return (
        weights[f"{name}.weight"] * (rows - rows.mean(-1, keepdim=True)) / (rows.std(-1, keepdim=True) + 1e-6)
        + weights[f"{name}.bias"]
    )


def attended(weights: Weights, name: str, asking: torch.Tensor, context: torch.Tensor, heads: int = 2) -> torch.Tensor:
    """Multi-head attention of some tokens over others, one head after another."""
    q = linear(weights, f"{name}.query", asking)
    k, v = (linear(weights, f"{name}.{kind}", context) for kind in ("key", "value"))
    width = q.shape[1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        mixed.append(softmax(q[:, part] @ k[:, part].T / width**0.5) @ v[:, part])
    return linear(weights, f"{name}.output", torch.cat(mixed, 1))


def forwarded(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    return linear(weights, f"{name}.3", relu(linear(weights, f"{name}.0", rows)))


def projected(weights: Weights, map_CHW: torch.Tensor) -> torch.Tensor:
    """MAAF's image tokens of one level, without positions."""
    rows = cells(map_CHW) @ weights["cells.projections.0.0.weight"].flatten(1).T
    name = "cells.projections.0.1"
    standard = (rows - weights[f"{name}.running_mean"]) / (weights[f"{name}.running_var"] + 1e-3).sqrt()
    return relu(standard * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def sentences() -> Words:
    """Two words, one word, and none."""
    features = torch.randn(B, 2, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    features = features * mask[:, :, None]
    return Words(features, mask, features.sum(1))


@pytest.mark.parametrize("steps", ["xxx_xmm_xff", "xxx_mmm_xmm.mxx_xff_mff"])
def test_two_streams_of_maaf_take_the_published_steps(steps: str) -> None:
    composer, weights = random_composer("maaf-two-stream", heads=2, width=5, blocks=2, positions="none", steps=steps)
    (maps_BCHW,), _ = example()
    words = sentences()
    answers = composer.embed_queries([maps_BCHW], words)
    for query, map_CHW in enumerate(maps_BCHW):
        x, m = projected(weights, map_CHW), words.features_BTD[query][words.mask_BT[query]]
        spoken = len(m) > 0
        m = m if spoken else torch.zeros(1, D, dtype=torch.float64)
        for block in range(2):
            for step, name in enumerate(steps.split("_")):
                x_before, m_before = x, m
                for one in name.split("."):
                    part, here = f"blocks.{block}.parts.{one}", x_before if one[0] == "x" else m_before
                    normed = layer_norm(weights, f"blocks.{block}.norms.{step}", here)
                    context = {one[0]: normed}.get(one[1], x_before if one[1] == "x" else m_before)
                    changed = (
                        forwarded(weights, part, normed) if "f" in one else attended(weights, part, normed, context)
                    )
                    x, m = (here + changed, m) if one[0] == "x" else (x, here + changed)
        image = layer_norm(weights, "norm_image", x).mean(0)
        expected = (image + layer_norm(weights, "norm_words", m).mean(0)) / 2 if spoken else image
        torch.testing.assert_close(answers[query], expected, atol=1e-6, rtol=1e-5)


def test_the_output_token_of_maaf_becomes_the_embedding() -> None:
    composer, weights = random_composer("maaf-output-token", heads=2, width=5, blocks=2, positions="none")
    (maps_BCHW,), _ = example()
    words = sentences()
    answers = composer.embed_queries([maps_BCHW], words)
    for query, map_CHW in enumerate(maps_BCHW):
        spoken = words.features_BTD[query][words.mask_BT[query]]
        tokens = torch.cat([weights["token"][None], projected(weights, map_CHW), spoken])
        for block in ("blocks.0", "blocks.1"):
            normed = layer_norm(weights, f"{block}.norm_attention", tokens)
            tokens = tokens + attended(weights, f"{block}.attention", normed, normed)
            normed = layer_norm(weights, f"{block}.norm_forward", tokens)
            tokens = tokens + forwarded(weights, f"{block}.forward_network", normed)
        torch.testing.assert_close(answers[query], layer_norm(weights, "norm", tokens)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("attention", ["softmax", "identity"])
@pytest.mark.parametrize("name", ["maaf-two-stream", "maaf-output-token"])
def test_an_empty_sentence_leaves_maafs_image_as_the_gallery_has_it(name: str, attention: str) -> None:
    composer, _ = random_composer(name, heads=2, attention=attention)
    maps, _ = example()
    torch.testing.assert_close(composer.embed_queries(maps, sentences())[2], composer.embed_images(maps)[2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("film", {"blocks": 0}, "blocks=0 must be at least 1"),
        ("mrn", {"dropout": 1.0}, r"dropout=1\.0 must be in \[0, 1\)"),
        ("relationship", {"layers": 0}, "layers=0 must be at least 1"),
        ("composeae", {"dropout": -0.1}, r"dropout=-0\.1 must be in \[0, 1\)"),
        ("cosmo", {"heads": 3}, "8 channels, which 3 heads cannot share"),
        ("val", {"heads": 3}, "8 channels, which 3 heads cannot share"),
        ("rtic", {"blocks": 0}, "blocks=0 must be at least 1"),
        ("rtic", {"graph": -1.0}, r"graph=-1\.0 must not be negative"),
        ("rtic", {"graph": float("nan")}, "graph=nan must not be negative"),
        ("pic2word", {"layers": 0}, "layers=0 must be at least 1"),
        ("pic2word", {}, "needs to know the text encoder"),
        ("maaf-two-stream", {"heads": 4}, "dim=6 must be a multiple of model.options.heads=4"),
        ("maaf-two-stream", {"heads": 2, "steps": "xxx_xmn"}, "'xmn' is no step"),
        ("maaf-two-stream", {"heads": 2, "steps": "xxx_xff"}, "never look at the words"),
        ("maaf-output-token", {"blocks": 0}, "blocks=0 must be at least 1"),
    ],
)
def test_options_that_a_composer_cannot_have_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        random_composer(name, **options)
