"""Programs of the tests' own, as files."""

from pathlib import Path


def write_executable(path: Path, text: str) -> None:
    """An executable file, in place at once: one that is being started can't be opened for writing (ETXTBSY)."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)
