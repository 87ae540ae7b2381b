"""The README's tables are those of benchmarks that exist."""

import re
from pathlib import Path

from benchmarks.__main__ import TOPICS, replaced

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_mark_is_a_topic_with_a_table_in_it():
    begun = re.findall(r"<!-- (\w+) -->", README)
    assert set(begun) <= set(TOPICS)
    assert begun == re.findall(r"<!-- /(\w+) -->", README)
    for topic in begun:
        inside = README.partition(f"<!-- {topic} -->")[2].partition(f"<!-- /{topic} -->")[0]
        assert "| --- |" in inside, topic


def test_each_tables_head_is_printed_by_its_benchmark():
    for topic in re.findall(r"<!-- (\w+) -->", README):
        inside = README.partition(f"<!-- {topic} -->")[2].partition(f"<!-- /{topic} -->")[0]
        source = (ROOT / f"benchmarks/{topic}.py").read_text()
        for head in re.findall(r"^\|(.*)\|\n\| ---", inside, flags=re.MULTILINE):
            for cell in head.split("|"):
                assert f'"{cell.strip()}"' in source or cell.strip() in source, (topic, cell)


def test_tables_take_the_place_of_those_before():
    page = "before\n<!-- reader -->\nold\n<!-- /reader -->\nafter\n<!-- jpeg -->\n<!-- /jpeg -->\n"
    tables = "\n### Title; median of 3\n\n| path     | value |\n| -------- | ----- |\n| a        | 1     |\n"
    written = replaced(page, "reader", tables)
    assert written.startswith(
        "before\n<!-- reader -->\n\n**Title; median of 3**\n\n| path | value |\n| --- | --- |\n| a | 1 |\n"
    )
    assert written.endswith("\n\n<!-- /reader -->\nafter\n<!-- jpeg -->\n<!-- /jpeg -->\n")
    assert replaced(written, "reader", tables) == written
    assert replaced(page, "scaling", tables) == page
