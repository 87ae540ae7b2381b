"""The shards that benchmarks read: `python -m dataset prepare`."""

import json
import sys
from pathlib import Path

from train.runtime.dataset_info import ImageDatasetInfo


def read_dataset_info(folder: Path) -> tuple[ImageDatasetInfo, int]:
    """What is in `folder` and how many pictures its train channel has."""
    path = folder / "dataset.json"
    if not path.exists():
        sys.exit(f"no shards in {folder}: run `python -m dataset prepare` first")
    described = json.loads(path.read_text())
    print(f"data: {described['source']['kind']} {described['source'].get('name') or ''}".rstrip(), file=sys.stderr)
    examples = described["splits"]["train"]["examples"]
    return ImageDatasetInfo(tuple(described["image_shape"]), tuple(described["classes"]), examples), examples
