"""The head of the data set card that the hub and load_dataset read: licences, sizes, configurations, features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from promptforge.stages.content import Content
from promptforge.stages.run import Run
from promptforge.stages.shards import SPLITS, Written

_SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))

#: Licence ids that the hub knows; any other goes as "other", and stands in the table of sources.
_HUB_LICENCES = (
    *("apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("odc-by", "odbl", "pddl", "openrail", "creativeml-openrail-m", "gpl-3.0", "agpl-3.0", "cdla-permissive-2.0"),
)


def front_matter(run: Run, content: Content, schemas: Mapping[str, pa.Schema], files: Mapping[str, Written]) -> str:
    """YAML, without its fences; `schemas` has data only where there are pictures."""
    from datasets import DatasetInfo, Features
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    n_rows = sum(row[2] for row in content.figures["splits"])
    data = DatasetCardData(
        license=_licences(content),
        language="en" if n_rows and content.figures["grammar"][0][0] == n_rows else None,
        size_categories=next((name for name, limit in _SIZES if n_rows < limit), "n>10M"),
        task_categories=["text-to-image"],
        tags=["promptforge", "distillation", "synthetic"],
        pretty_name=run.recipe.publish.pretty_name,
    )
    configs, infos = {}, {}
    for config, folder in (("default", "data" if "data" in schemas else "prompts"), ("prompts", "prompts")):
        splits: list[dict[str, Any]] = []
        for split in SPLITS:
            mine = [item for name, item in files.items() if name.startswith(f"{folder}/{split}-")]
            if mine:
                size = sum(item.arrow_bytes for item in mine)
                splits.append({"name": split, "num_bytes": size, "num_examples": sum(item.rows or 0 for item in mine)})
        if not splits:
            continue
        configs[config] = {
            "data_files": [{"split": item["name"], "path": f"{folder}/{item['name']}-*"} for item in splits],
            **({"default": True} if config == "default" else {}),
        }
        infos[config] = DatasetInfo(
            features=Features.from_arrow_schema(schemas[folder]),
            splits=splits,
            download_size=sum(item.bytes for name, item in files.items() if name.startswith(f"{folder}/")),
            dataset_size=sum(item["num_bytes"] for item in splits),
        )
    MetadataConfigs(configs).to_dataset_card_data(data)
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return str(data.to_yaml())


def _licences(content: Content) -> str | list[str]:
    stated = {row[1].casefold() for row in content.figures["sources"] if row[3]}
    if content.n_pictures:
        stated |= {row[4].casefold() for row in content.figures["teachers"]}
    if content.extends is not None:
        stated |= {row[1].casefold() for row in content.extends["sources"]}
        stated |= {name.casefold() for name in content.extends["picture_licences"]}
    known = sorted({name if name in _HUB_LICENCES else "other" for name in stated - {"unstated"}})
    if "unstated" in stated:
        known = sorted({*known, "unknown"})
    return known[0] if len(known) == 1 else known or "unknown"
