"""The record of every study, in Redis: keys, connection, private server, catalog, lease, journal.

Needs neither Ray nor torch, and Optuna only in `journal`.
"""
