"""The distributions, and the contract that new ones keep."""

from latentem.distributions import dissimilarity
from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, ExponentialFamily, parameter
from latentem.distributions.beta import Beta
from latentem.distributions.binomial import Binomial, Geometric
from latentem.distributions.categorical import Bernoulli, Categorical
from latentem.distributions.choice import Choice
from latentem.distributions.dirichlet import Dirichlet
from latentem.distributions.exponential import Exponential
from latentem.distributions.fixed import Fixed, fixed
from latentem.distributions.gamma import Gamma
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.inverse_gaussian import InverseGaussian
from latentem.distributions.lognormal import LogNormal
from latentem.distributions.normal import Normal
from latentem.distributions.pareto import Pareto
from latentem.distributions.point_mass import PointMass
from latentem.distributions.poisson import Poisson
from latentem.distributions.prototype import Prototype
from latentem.distributions.rayleigh import Rayleigh
from latentem.distributions.switch import Switch
from latentem.distributions.uniform import Uniform
from latentem.distributions.weibull import Weibull

__all__ = [
    "Array",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Choice",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "Fixed",
    "Gamma",
    "Gaussian",
    "Geometric",
    "InverseGaussian",
    "LogNormal",
    "Normal",
    "Pareto",
    "PointMass",
    "Poisson",
    "Prototype",
    "Rayleigh",
    "Switch",
    "Uniform",
    "Weibull",
    "dissimilarity",
    "fixed",
    "parameter",
]
