"""The distributions, and the contract that new ones keep."""

from latentem.distributions import covariance, dissimilarity
from latentem.distributions.arrays import Array
from latentem.distributions.auxiliary import AuxiliaryFamily
from latentem.distributions.base import Distribution, ExponentialFamily, parameter
from latentem.distributions.beta import Beta
from latentem.distributions.binomial import Binomial, Geometric
from latentem.distributions.categorical import Bernoulli, Categorical
from latentem.distributions.choice import Choice
from latentem.distributions.dirichlet import Dirichlet
from latentem.distributions.discrete_uniform import DiscreteUniform
from latentem.distributions.exponential import Exponential
from latentem.distributions.families import families
from latentem.distributions.fixed import Fixed, fixed
from latentem.distributions.formulas import Formulas
from latentem.distributions.gamma import Gamma
from latentem.distributions.gamma_regression import GammaRegression
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.independent import Independent
from latentem.distributions.inverse_gaussian import InverseGaussian
from latentem.distributions.laplace import Laplace
from latentem.distributions.linear_gaussian import LinearGaussian
from latentem.distributions.logistic import Logistic
from latentem.distributions.lognormal import LogNormal
from latentem.distributions.multinomial import Multinomial
from latentem.distributions.negative_binomial import NegativeBinomial
from latentem.distributions.normal import Normal
from latentem.distributions.pareto import Pareto
from latentem.distributions.point_mass import PointMass
from latentem.distributions.poisson import Poisson
from latentem.distributions.poisson_regression import PoissonRegression
from latentem.distributions.priors import NormalInverseGamma, NormalInverseWishart
from latentem.distributions.product import Product, as_distribution
from latentem.distributions.prototype import Prototype
from latentem.distributions.rayleigh import Rayleigh
from latentem.distributions.softmax import Softmax
from latentem.distributions.student_t import StudentT
from latentem.distributions.switch import Switch
from latentem.distributions.uniform import Uniform
from latentem.distributions.von_mises import VonMises
from latentem.distributions.von_mises_fisher import VonMisesFisher
from latentem.distributions.weibull import Weibull

__all__ = [
    "Array",
    "AuxiliaryFamily",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Choice",
    "Dirichlet",
    "DiscreteUniform",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "Fixed",
    "Formulas",
    "Gamma",
    "GammaRegression",
    "Gaussian",
    "Geometric",
    "Independent",
    "InverseGaussian",
    "Laplace",
    "LinearGaussian",
    "LogNormal",
    "Logistic",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "NormalInverseGamma",
    "NormalInverseWishart",
    "Pareto",
    "PointMass",
    "Poisson",
    "PoissonRegression",
    "Product",
    "Prototype",
    "Rayleigh",
    "Softmax",
    "StudentT",
    "Switch",
    "Uniform",
    "VonMises",
    "VonMisesFisher",
    "Weibull",
    "as_distribution",
    "covariance",
    "dissimilarity",
    "families",
    "fixed",
    "parameter",
]
