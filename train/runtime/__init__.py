"""What a host is given: paths, hyperparameters, data set, hardware, signals.

Needs the standard library; reads `/opt/ml/input/config` and the environment.
"""
