"""The command line: `python -m local_test`.

Needs everything above; `serve` alone imports moto.
"""
