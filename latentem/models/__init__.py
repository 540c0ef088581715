"""Built-in models: functions that return a `Model`."""

from latentem.models.mixtures import gaussian_mixture, kmeans

__all__ = ["gaussian_mixture", "kmeans"]
