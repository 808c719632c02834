"""Exported models and what is done with them: predicting, evaluating, explaining, and what a bundle consists of.

A bundle is the folder that `tuner export-best` writes.
"""
