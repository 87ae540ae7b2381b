"""Tuning jobs: search space, samplers, early stopping, warm start, report.

Needs optuna and `training`.
"""
