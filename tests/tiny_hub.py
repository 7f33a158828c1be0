"""Very small BERT, CLIP and SigLIP with random weights, in folders as the hub has them."""

import json
from pathlib import Path

import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"make add remove red blue large small green cube sphere cylinder".split()]
VOCAB += ["to", "top", "left", "##ish", "!", "?"]


def bert(folder: Path, *, vocab_txt: bool = False, seed: int = 0) -> Path:
    """BERT with 2 layers of 16 features, with its pre-training head and pooler, and a WordPiece tokenizer."""
    from transformers import BertConfig, BertForMaskedLM

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCAB),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    if not vocab_txt:
        tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt")).save(str(folder / "tokenizer.json"))
        (folder / "vocab.txt").unlink()
    return folder


def clip(folder: Path, *, seed: int = 0) -> Path:
    """CLIP with towers of 2 and 3 layers, 4×4 patches of 8 pixels, a space of 12 features, a tokenizer of bytes."""
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True)
    core = tokenizers.Tokenizer(models.BPE())
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    begin, end = "<|startoftext|>", "<|endoftext|>"
    core.model = models.BPE(vocab={letter: number for number, letter in enumerate([*alphabet, begin, end])}, merges=[])
    core.add_special_tokens([begin, end])
    marks = [(begin, len(alphabet)), (end, len(alphabet) + 1)]
    core.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=marks)
    core.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    text = {"vocab_size": len(alphabet) + 2, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    vision = {"image_size": 32, "patch_size": 8, "hidden_size": 20, "intermediate_size": 24, "num_hidden_layers": 3}
    config = CLIPConfig(
        text_config={**text, "num_attention_heads": 2, "bos_token_id": marks[0][1], "eos_token_id": marks[1][1]},
        vision_config={**vision, "num_attention_heads": 2},
        projection_dim=12,
    )
    CLIPModel(config).save_pretrained(folder)
    return folder


def siglip(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP with towers of 2 and 3 layers, 4×4 patches of 8 pixels, 12 features, sentences of 16 tokens."""
    from transformers import SiglipConfig, SiglipModel

    folder.mkdir(parents=True)
    words = ["<pad>", "</s>", "<unk>", *VOCAB[4:]]
    core = tokenizers.Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["</s>", "<pad>"])
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    core.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>"}')
    settings = {"do_resize": True, "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "rescale_factor": 1 / 255}))
    torch.manual_seed(seed)
    text = {"vocab_size": len(words), "hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2}
    vision = {"image_size": 32, "patch_size": 8, "hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 3}
    config = SiglipConfig(
        text_config={**text, "num_attention_heads": 2, "max_position_embeddings": 16},
        vision_config={**vision, "num_attention_heads": 2},
    )
    model = SiglipModel(config)
    for parameter in model.parameters():  # otherwise biases are near 0 and the head's tokens look alike
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder
