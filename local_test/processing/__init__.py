"""Processing jobs: admission, files of /opt/ml, run, outputs.

Needs `training`, on whose parts they run.
"""
