"""tuner: hyperparameter search for image-classifying CNNs that survives crashes and ships its winner."""

__version__ = "0.1.0"
