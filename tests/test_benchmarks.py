"""The tables of docs/benchmarks.md are those of benchmarks that exist."""

import ast
import re
from pathlib import Path

from benchmarks.__main__ import TOPICS, replace_tables

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/benchmarks.md").read_text()


def test_every_mark_is_a_topic_with_a_table_in_it():
    begun = re.findall(r"<!-- (\w+) -->", PAGE)
    assert set(begun) <= set(TOPICS)
    assert begun == re.findall(r"<!-- /(\w+) -->", PAGE)
    for topic in begun:
        inside = PAGE.partition(f"<!-- {topic} -->")[2].partition(f"<!-- /{topic} -->")[0]
        assert "| --- |" in inside, topic


def head(topic: str) -> list[str]:
    """What the topic's benchmark prints above its table's columns: the second argument of what prints it."""
    tree = ast.parse((ROOT / f"benchmarks/topics/{topic}.py").read_text())
    names = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (call,) = (call for call in calls if ast.unparse(call.func) in ("print_table", "print_figures"))
    given = call.args[1]
    columns = names[given.id] if isinstance(given, ast.Name) else given
    return [node.value for node in ast.walk(columns) if isinstance(node, ast.Constant)]


def test_each_tables_head_is_printed_by_its_benchmark():
    for topic in re.findall(r"<!-- (\w+) -->", PAGE):
        inside = PAGE.partition(f"<!-- {topic} -->")[2].partition(f"<!-- /{topic} -->")[0]
        (written,) = re.findall(r"^\|(.*)\|\n\| ---", inside, flags=re.MULTILINE)
        assert [cell.strip() for cell in written.split("|")] == head(topic), topic


def test_tables_take_the_place_of_those_before():
    page = "before\n<!-- reader -->\nold\n<!-- /reader -->\nafter\n<!-- jpeg -->\n<!-- /jpeg -->\n"
    tables = "\n### Title; median of 3\n\n| path     | value |\n| -------- | ----- |\n| a        | 1     |\n"
    written = replace_tables(page, "reader", tables)
    assert written.startswith(
        "before\n<!-- reader -->\n\n**Title; median of 3**\n\n| path | value |\n| --- | --- |\n| a | 1 |\n"
    )
    assert written.endswith("\n\n<!-- /reader -->\nafter\n<!-- jpeg -->\n<!-- /jpeg -->\n")
    assert replace_tables(written, "reader", tables) == written
    assert replace_tables(page, "scaling", tables) == page
