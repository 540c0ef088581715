"""Pictures of models, posteriors and traces, with matplotlib (the extra ``plot``).

Every function draws into one matplotlib ``Axes`` (a new one if none is given) and returns it. A
state has one colour everywhere; a point has the blend of the states' colours by its
responsibilities. The half-steps are blue after E and red after M, as in Bishop, chapter 9.

No function asks for a family: whatever has a mean and a covariance gets ellipses, whatever is
one-dimensional gets its density.
"""

from latentem.plot.criteria import selection
from latentem.plot.graphs import graph
from latentem.plot.half_steps import trace
from latentem.plot.points import clusters, responsibilities

__all__ = ["clusters", "graph", "responsibilities", "selection", "trace"]
