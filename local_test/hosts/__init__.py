"""One host of a job: its `/opt/ml`, its checkpoints and its artifacts.

Needs `data` and `runners`.
"""
