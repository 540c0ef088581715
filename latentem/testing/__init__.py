"""The laws of a distribution and of a model, run against anyone's.

`check_distribution` is what the library's own tests call for every family; a plug-in that passes
works in every graph and under every assignment rule. `check_model` does the same for a declared
graph on some data. Both return quietly when all laws hold and raise ``AssertionError``, as
``numpy.testing`` does, with a sentence for each that fails.
"""

from latentem.testing.distribution import check_distribution
from latentem.testing.model import check_model

__all__ = ["check_distribution", "check_model"]
