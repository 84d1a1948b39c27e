"""EasyOCR's two models at full size with weights set by rule: a detector that finds dark spots, a reader of nonsense.

The detector's one live channel takes darkness through CRAFT's own layers, so that its boxes lie where the ink is. The
recogniser is random, its last layer scaled up so that it is sure of what it says.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

#: Sum of the three normalised channels of a white and of a black pixel.
_WHITE, _BLACK = 7.318, -5.958


def save_detector(folder: Path) -> tuple[str, str]:
    """File name and MD5 of a CRAFT that finds ink darker than the middle grey."""
    import torch
    from easyocr.craft import CRAFT

    with torch.device("meta"):  # random weights for 20 million parameters take seconds, to be thrown away
        net = CRAFT()
    net.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.zero_()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1)
                module.running_var.fill_(1)
        first, *later = (module for module in net.basenet.slice1 if isinstance(module, torch.nn.Conv2d))
        first.weight[0, :, 1, 1] = 1 / (_BLACK - _WHITE)
        first.bias[0] = _WHITE / (_WHITE - _BLACK) - 0.5  # 0.5 in black, below 0 in any light colour
        for conv in later:
            conv.weight[0, 0] = 1  # spreads by one pixel, so that the letters of a word flow together
        net.upconv4.conv[0].weight[0, 64] = 1  # after 64 channels from above: the first from the side
        net.upconv4.conv[3].weight[0, 0, 1, 1] = 1
        for number in (0, 2):  # 1 - relu(1 - x), which is x but at most 1
            net.conv_cls[number].weight[0, 0, 1, 1] = -1
            net.conv_cls[number].bias[0] = 1
        net.conv_cls[4].weight[0, 0, 1, 1] = 1
        net.conv_cls[6].weight[0, 0] = 1
        net.conv_cls[8].weight[0, 0] = 1
    return _save(net, folder, "craft_mlt_25k.pth")


def save_recogniser(folder: Path) -> tuple[str, str]:
    """File name and MD5 of an English recogniser with random weights."""
    import torch
    from easyocr.config import recognition_models
    from easyocr.model.vgg_model import Model

    model = recognition_models["gen2"]["english_g2"]
    with torch.random.fork_rng():
        torch.manual_seed(20)
        net = Model(input_channel=1, output_channel=256, hidden_size=256, num_class=len(str(model["characters"])) + 1)
    with torch.no_grad():
        net.Prediction.weight.mul_(4000)
    return _save(net, folder, str(model["filename"]))


def _save(net: Any, folder: Path, name: str) -> tuple[str, str]:
    """As the released files are: a state dict whose keys begin with module."""
    import torch

    torch.save({f"module.{key}": value for key, value in net.state_dict().items()}, folder / name)
    return name, hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
