"""Run a host of a job: as a container or as a process.

Needs docker for containers; imports nothing that knows jobs.
"""
