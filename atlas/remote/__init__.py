"""Logs that are reached over a network, or watched from outside: everything that asks somebody else about a log.

source      the static files of a log: over HTTP, or in a folder
tree        proofs from those files, each tile verified against the checkpoint before it is used
"""
