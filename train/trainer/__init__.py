"""The job: steps, epochs, checkpoints, schedules. `job.py` reads in one go.

Needs all other packages of `train`.
"""
