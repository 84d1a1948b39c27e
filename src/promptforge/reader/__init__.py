"""What a trainer imports: the prompts and pictures of a published data set, checked before they are used.

    rows = prompts("runs/mini/dataset")                       a list of dicts: what a trainer of text encoders reads
    data = Pictures("runs/mini/dataset")                      map-style: data[i], one picture without its row group
    data = Stream("runs/mini/dataset", seed=0, weights={"semantic_understanding": 10}, rank=0, world=8)
    data = open_split("runs/mini/dataset", "train", pictures=True, streaming=True)   as `datasets` sees it
    weights = weights_by_axis("runs/mini/dataset", {"semantic_understanding": 10})
    order = sampling_order(weights, numpy.random.default_rng([seed, epoch]))

Every file that is opened is first compared with the SHA-256 in manifest.json, once a process while it is unchanged
(a loader's worker takes its parent's word); `datasets.load_dataset` on the folder gives the same rows without that.
Needs pyarrow, numpy, pillow (OpenCV decodes where it is installed) and, for open_split, datasets; never torch.
"""

from promptforge.reader.dataset import checked, manifest, open_split, prompts, sampling_order, weights_by_axis
from promptforge.reader.pictures import Pictures
from promptforge.reader.stream import Stream

__all__ = [
    "Pictures",
    "Stream",
    "checked",
    "manifest",
    "open_split",
    "prompts",
    "sampling_order",
    "weights_by_axis",
]
