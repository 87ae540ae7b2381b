"""Numbers that texts hold: a metric in a log line, a hyperparameter."""


def number(text: str | None) -> float | None:
    """The number that the text holds, None if it holds none."""
    try:
        return float(text) if text else None
    except ValueError:
        return None
