"""Train a model with a loop of your own, from the package's public parts; the result is that of `itma.train`.

python examples/train_by_hand.py runs/by-hand
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

import itma


def train_by_hand(settings: itma.Settings) -> tuple[itma.Retriever, list[float]]:
    """The model that `settings` describe, trained, and the loss of each step."""
    config = settings.train
    data = itma.load_data(settings.data, "train").triplets
    rows, _ = itma.hold_out(data, config.hold_out, seed=config.seed)  # what is held out chooses a checkpoint
    model = itma.Retriever.build(settings.model, rows.feedback, seed=config.seed)
    torch.nn.init.constant_(model.scale, config.start_scale)
    model.to(memory_format=torch.channels_last)

    def collate(numbers: list[int]) -> tuple[itma.Batch, torch.Tensor]:
        samples = rows.draw_samples(np.array(numbers), np.random.default_rng(config.seed))
        return itma.load_batch(rows, samples, model.preprocess), torch.from_numpy(rows.labels[samples.targets])

    plan = itma.Plan(rows.references, batch=config.batch, seed=config.seed, per_reference=config.per_reference)
    steps = [plan.rows(step).tolist() for step in range(config.steps)]
    loader = DataLoader(range(len(rows)), batch_sampler=steps, collate_fn=collate)

    loss_of = itma.make_loss(config)
    optimizer, losses = itma.make_optimizer(model, config), []
    model.train()
    for step, (batch, labels) in enumerate(loader):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step) * group["factor"]
        torch.manual_seed(itma.dropout_seed(config.seed, step))
        images, tokens = model.preprocess.normalise(batch.pixels), model.tokenizer(batch.feedback)
        queries, targets = model(images, batch.references, batch.targets, tokens)
        loss = loss_of(itma.LossBatch(queries, targets, labels, model.scale))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which folder is to hold the model? python examples/train_by_hand.py FOLDER")
    trained, course = train_by_hand(itma.settings_for("shapes", preset="tiny"))
    trained.save(Path(sys.argv[1]))
    sys.stdout.write(f"loss {course[0]:.3f} → {course[-1]:.3f}; written to {sys.argv[1]}\n")
