"""Training jobs: admission, run, states, metrics, logs, queue.

Needs `request`, `data`, `runners` and `hosts`.
"""
