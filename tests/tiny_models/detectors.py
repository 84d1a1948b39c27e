"""Tiny OWLv2 and Grounding DINO with random weights, built from the library's configs. Equal seeds give equal files."""

from pathlib import Path

from .pipelines import _seeded
from .tokenizers import WORDS, clip_tokenizer


def tiny_owlv2(folder: Path, seed: int = 0) -> Path:
    """16 patches of a picture of 64 px; texts of 16 tokens, as the real one has."""
    with _seeded(seed):
        from transformers import (
            Owlv2Config,
            Owlv2ForObjectDetection,
            Owlv2ImageProcessor,
            Owlv2Processor,
            Owlv2TextConfig,
            Owlv2VisionConfig,
        )

        clip = clip_tokenizer()
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        ends = {"bos_token_id": len(clip) - 2, "eos_token_id": len(clip) - 1, "pad_token_id": 0}
        config = Owlv2Config(
            text_config=Owlv2TextConfig(vocab_size=len(clip), max_position_embeddings=16, **ends, **small).to_dict(),
            vision_config=Owlv2VisionConfig(image_size=64, patch_size=16, **small).to_dict(),
            projection_dim=32,
        )
        model = Owlv2ForObjectDetection(config).eval()
        for layer in (*model.box_head.parameters(), *model.class_head.logit_shift.parameters()):
            layer.data.mul_(0.2)  # else the boxes are points and half of the confidences 0
        model.save_pretrained(folder, safe_serialization=True)
        picture = Owlv2ImageProcessor(size={"height": 64, "width": 64})
        Owlv2Processor(image_processor=picture, tokenizer=clip).save_pretrained(folder)
    return folder


def bert_tokenizer():
    """WordPiece over words.txt and the letters; [CLS], [SEP], . and ? have BERT's numbers, which the model knows."""
    from transformers import BertTokenizerFast

    places = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    pieces = dict.fromkeys(word.lower() for word in WORDS if word.isalpha())
    letters = [f"{start}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789-'" for start in ("", "##")]
    at = {number: piece for piece, number in places.items()}
    rest = iter(dict.fromkeys([*letters, *pieces]))
    for number in range(1030 + len(letters) + len(pieces)):
        if number not in at:
            at[number] = next(rest, f"[unused{number}]")
    return BertTokenizerFast(vocab={at[number]: number for number in sorted(at)}, model_max_length=256)


def tiny_grounding_dino(folder: Path, seed: int = 0, n_text: int = 256) -> Path:
    """12 queries over a picture of 64 to 96 px; a text of at most `n_text` tokens."""
    with _seeded(seed):
        from transformers import (
            BertConfig,
            GroundingDinoConfig,
            GroundingDinoForObjectDetection,
            GroundingDinoImageProcessor,
            GroundingDinoProcessor,
            SwinConfig,
        )

        bert = bert_tokenizer()
        swin = SwinConfig(
            image_size=64, embed_dim=16, depths=[1, 1, 1], num_heads=[2, 2, 2], window_size=4, out_indices=[2, 3]
        )
        text = BertConfig(
            vocab_size=max(bert.get_vocab().values()) + 1,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
        )
        config = GroundingDinoConfig(
            backbone_config=swin,
            text_config=text.to_dict(),
            d_model=32,
            encoder_layers=1,
            decoder_layers=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            num_queries=12,
            num_feature_levels=3,
            max_text_len=n_text,
        )
        model = GroundingDinoForObjectDetection(config).eval()
        model.save_pretrained(folder, safe_serialization=True)
        picture = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        GroundingDinoProcessor(image_processor=picture, tokenizer=bert).save_pretrained(folder)
    return folder
