"""One benchmark a module: `python -m benchmarks TOPIC`.

Needs the environment of `make bench`.
"""
