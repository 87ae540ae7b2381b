"""The page at the server's address: jobs, their curves and logs as they come, results, experiments.

HTML, CSS and ES modules are files in `static/`: no build step, nothing from elsewhere.
"""
