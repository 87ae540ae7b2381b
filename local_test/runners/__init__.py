"""Run a host of a job, as a container or as a process, and watch it.

Needs docker for containers; `request` for the kinds of jobs alone.
"""
