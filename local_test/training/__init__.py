"""Training jobs: admission, run, states, metrics, logs, queue.

What jobs of other kinds have in common with them is here, too. Needs `request`, `data`, `runners` and `hosts`.
"""
