"""Executions of pipelines: their steps in order, on disk, so that they go on after the server was killed.

Needs `pipelines`. What a step does it asks of `services`, as any client would.
"""
