"""The distributions, and the contract that new ones keep."""

from latentem.distributions import dissimilarity
from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, ExponentialFamily, parameter
from latentem.distributions.categorical import Bernoulli, Categorical
from latentem.distributions.choice import Choice
from latentem.distributions.fixed import Fixed, fixed
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.normal import Normal
from latentem.distributions.point_mass import PointMass
from latentem.distributions.poisson import Poisson
from latentem.distributions.prototype import Prototype
from latentem.distributions.switch import Switch

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
