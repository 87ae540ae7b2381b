"""One page a task. `python -m docs.generate` writes the tables that the code knows."""
