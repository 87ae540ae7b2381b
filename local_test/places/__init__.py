"""Where jobs are: folders of this machine, a running server, AWS. Found, described, followed and stopped in one way.

Needs what is above, of the page its way to read a log.
"""
