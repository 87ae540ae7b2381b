"""`python -m benchmarks [TOPIC…] [--write docs/benchmarks.md]`: benchmarks as Markdown tables.

Each runs in a process of its own. With --write each topic's tables also take the place of what FILE has between
`<!-- TOPIC -->` and `<!-- /TOPIC -->`.
"""

import argparse
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

TOPICS = sorted(path.stem for path in (Path(__file__).parent / "topics").glob("[!_]*.py"))
# these take --data
OVER_SHARDS = {"feeding", "hosts", "memory", "pipe_training", "reader", "time_to_accuracy"}


def main() -> int:
    """0 if all of them ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the topics' marks in FILE")
    parser.add_argument("--data", type=Path, help="prepared shards (default: data)")
    arguments = parser.parse_args()
    if unknown := set(arguments.topics) - set(TOPICS):
        parser.error(f"there is no such topic. Received: {', '.join(sorted(unknown))}. Expected: {', '.join(TOPICS)}")
    if missing := [name for name in ("numpy", "tensorflow", "boto3") if not find_spec(name)]:
        sys.exit(f"{missing[0]} is not installed. Run `make env`, then .venv/bin/python instead of {sys.executable}")
    failed = [topic for topic in arguments.topics or TOPICS if not run(topic, arguments.data, arguments.write)]
    for topic in failed:
        print(f"benchmark {topic} failed", file=sys.stderr)
    return 1 if failed else 0


def run(topic: str, data: Path | None, page: Path | None) -> bool:
    """Whether it ran. Its tables go to standard output, and into the page."""
    options = ["--data", str(data)] if data and topic in OVER_SHARDS else []
    command = [sys.executable, "-m", f"benchmarks.topics.{topic}", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True
    ) as running:  # Ctrl-C waits for the topic's own end
        tables, _ = running.communicate()
    print(tables, flush=True)
    if page and not running.returncode:
        page.write_text(replace_tables(page.read_text(), topic, tables))
    return not running.returncode


def replace_tables(text: str, topic: str, tables: str) -> str:
    """The text with the tables between the topic's marks, if it has them."""
    marks = rf"(<!-- {topic} -->\n).*?(<!-- /{topic} -->)"
    slim = re.sub(r" +\|", " |", re.sub(r"-{3,}", "---", tables.strip()))
    slim = re.sub(r"^### (.*)$", r"**\1**", slim, flags=re.MULTILINE)
    return re.sub(marks, lambda found: f"{found[1]}\n{slim}\n\n{found[2]}", text, flags=re.DOTALL)


if __name__ == "__main__":
    sys.exit(main())
