"""Tokenizers of T5's and CLIP's classes with a vocabulary made from words.txt by rule: training one never repeats.

T5's knows each word of the list and each printable ASCII character as a piece; CLIP's has byte-level merges that spell
the words from the left. Both know every text, words outside the list by their letters.
"""

from pathlib import Path

WORDS = tuple((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())


def t5_tokenizer():
    """Best split by score: a listed word costs 5, a character 10."""
    from transformers import T5TokenizerFast

    characters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -10.0)]
    pieces += [(character, -10.0) for character in characters]
    pieces += [(f"▁{word}", -5.0) for word in WORDS]
    pieces += [(f"▁{word.title()}", -5.0) for word in WORDS if len(word) > 1]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512)


def clip_tokenizer():
    """77 tokens at most, as in CLIP."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        for number in range(1, len(symbols)):
            merges["".join(symbols[:number]), symbols[number]] = None
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=77)
