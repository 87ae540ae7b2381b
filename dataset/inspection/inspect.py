"""`inspect`: reads every record of a data set, on all cores, and says what is in it and what is wrong."""

from pathlib import Path

from dataset.console import progress_bar
from dataset.inspection.html_page import write_page
from dataset.inspection.shard import Facts, Inspector
from dataset.inspection.storage import find_shards, find_strangers, open_storage, read_description
from dataset.inspection.summary import Summary, summarize
from dataset.workers import Workers, cores

SHOWN = 12  # pictures of a class and split on the contact sheet
_MOST_SHOWN = 1500  # of all of them, at least one a class and split
_FEW_BYTES = 8 << 20  # are read sooner than processes start


def inspect(where: str, endpoint_url: str | None, page: Path | None) -> Summary:
    """What a folder or s3://bucket/prefix holds; `page` gets a contact sheet. DatasetError if it can't be read.

    Memory holds a record at a time in each process, and 20 bytes of each picture, to find copies.
    """
    storage = open_storage(where, endpoint_url)
    files = storage.list()
    described = read_description(storage, files)
    places = find_shards(storage, files, described)
    splits = len({place.split for place in places})
    classes = len(described.classes) if described else None
    shown = max(1, min(SHOWN, _MOST_SHOWN // (splits * (classes or 10)))) if page else 0
    # each shard gives its part; where there are many, some are left over
    part = -(-shown * splits // len(places)) if shown else 0
    inspector = Inspector(storage, described.image_shape if described else None, classes, part)
    size = sum(place.size for place in places)
    facts: list[Facts] = []
    with (
        Workers(inspector, min(cores(), len(places)) if size > _FEW_BYTES else 0) as workers,
        progress_bar(size, "inspect", "B") as done,
    ):
        for found in workers.map(places):
            facts.append(found)
            done.update(found.place.size)
    summary = summarize(storage.name, described, facts)
    if not described:
        summary.problems += find_strangers(files, places)
    if page:
        write_page(page, summary, shown)
    return summary
