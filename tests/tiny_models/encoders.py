"""A tiny BERT with random weights, in a folder as transformers reads it. Equal seeds give equal files."""

from pathlib import Path

from promptforge.models.torch_setup import load_torch
from tests.tiny_models.tokenizers import WORDS


def tiny_encoder(folder: Path, *, seed: int = 0) -> Path:
    """The folder with config.json, model.safetensors and the tokenizer's files; vectors have 32 numbers."""
    torch = load_torch()
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(97, 123)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokens += sorted({word.lower() for word in WORDS if word.isalpha() and len(word) > 1})
    tokenizer = BertTokenizerFast(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=64)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)  # biases start at 0, where they would prove nothing
    model.save_pretrained(folder)
    return folder
