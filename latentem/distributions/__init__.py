"""The distributions, and the contract that new ones keep."""

from latentem.distributions import dissimilarity
from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, ExponentialFamily, parameter
from latentem.distributions.categorical import Bernoulli, Categorical
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.normal import Normal
from latentem.distributions.point_mass import PointMass
from latentem.distributions.poisson import Poisson
from latentem.distributions.prototype import Choice, Prototype
from latentem.distributions.wrappers import Fixed, Switch, fixed

__all__ = [
    "Array",
    "Bernoulli",
    "Categorical",
    "Choice",
    "Distribution",
    "ExponentialFamily",
    "Fixed",
    "Gaussian",
    "Normal",
    "PointMass",
    "Poisson",
    "Prototype",
    "Switch",
    "dissimilarity",
    "fixed",
    "parameter",
]
