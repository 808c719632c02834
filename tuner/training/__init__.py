"""Training on one device with torch alone: data, augmentation, models, loop, metrics, checkpoints.

Nothing in this package knows Ray, Optuna or Redis, so that it can be imported, tested and timed by itself.
"""
