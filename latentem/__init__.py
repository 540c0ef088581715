"""Latent-variable models as small graphs of distributions, fitted by one generic EM engine."""

from __future__ import annotations

import importlib
from typing import Any

from latentem import datasets, errors, models
from latentem.comparison import Comparison, Selection, compare, select
from latentem.distributions import (
    Array,
    AuxiliaryFamily,
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Choice,
    Dirichlet,
    DiscreteUniform,
    Distribution,
    Exponential,
    ExponentialFamily,
    Formulas,
    Gamma,
    GammaRegression,
    Gaussian,
    Geometric,
    Independent,
    InverseGaussian,
    Laplace,
    LinearGaussian,
    Logistic,
    LogNormal,
    Multinomial,
    NegativeBinomial,
    Normal,
    NormalInverseGamma,
    NormalInverseWishart,
    Pareto,
    PointMass,
    Poisson,
    PoissonRegression,
    Product,
    Prototype,
    Rayleigh,
    Softmax,
    StudentT,
    Switch,
    Uniform,
    VonMises,
    VonMisesFisher,
    Weibull,
    covariance,
    dissimilarity,
    families,
    fixed,
    parameter,
)
from latentem.em import init
from latentem.em.accelerate import anderson, squarem
from latentem.em.align import Alignment, align, permute_states
from latentem.em.assign import hard, soft, stochastic, tempered
from latentem.em.bootstrap import Bootstrap
from latentem.em.fit import Step, fit, iterate
from latentem.em.plan import Plan, explain_plan
from latentem.em.result import Fit
from latentem.em.sampling import sample
from latentem.em.status import Status
from latentem.em.steps import (
    e_step,
    expected_log_joint,
    initialize,
    log_joint,
    log_likelihood,
    m_step,
)
from latentem.em.trace import Trace
from latentem.errors import (
    ConvergenceWarning,
    DataError,
    DegenerateError,
    DegenerateWarning,
    LatentemError,
    MissingExtraError,
    MissingMethodError,
    ModelError,
    ObjectiveDecreasedError,
    TooLargeError,
)
from latentem.graph import Model, Node, NodeKind, covariate, latent, observed
from latentem.inference.cost import cost
from latentem.inference.posterior import Posterior

__version__ = "0.1.0"

__all__ = [
    "Alignment",
    "Array",
    "AuxiliaryFamily",
    "Bernoulli",
    "Beta",
    "Binomial",
    "Bootstrap",
    "Categorical",
    "Choice",
    "Comparison",
    "ConvergenceWarning",
    "DataError",
    "DegenerateError",
    "DegenerateWarning",
    "Dirichlet",
    "DiscreteUniform",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "Fit",
    "Formulas",
    "Gamma",
    "GammaRegression",
    "Gaussian",
    "Geometric",
    "Independent",
    "InverseGaussian",
    "Laplace",
    "LatentemError",
    "LinearGaussian",
    "LogNormal",
    "Logistic",
    "MissingExtraError",
    "MissingMethodError",
    "Model",
    "ModelError",
    "Multinomial",
    "NegativeBinomial",
    "Node",
    "NodeKind",
    "Normal",
    "NormalInverseGamma",
    "NormalInverseWishart",
    "ObjectiveDecreasedError",
    "Pareto",
    "Plan",
    "PointMass",
    "Poisson",
    "PoissonRegression",
    "Posterior",
    "Product",
    "Prototype",
    "Rayleigh",
    "Selection",
    "Softmax",
    "Status",
    "Step",
    "StudentT",
    "Switch",
    "TooLargeError",
    "Trace",
    "Uniform",
    "VonMises",
    "VonMisesFisher",
    "Weibull",
    "align",
    "anderson",
    "compare",
    "cost",
    "covariance",
    "covariate",
    "datasets",
    "dissimilarity",
    "e_step",
    "errors",
    "expected_log_joint",
    "explain_plan",
    "families",
    "fit",
    "fixed",
    "hard",
    "init",
    "initialize",
    "iterate",
    "latent",
    "log_joint",
    "log_likelihood",
    "m_step",
    "models",
    "observed",
    "parameter",
    "permute_states",
    "sample",
    "select",
    "soft",
    "squarem",
    "stochastic",
    "tempered",
]

# Loaded when first used: they reach for optional dependencies, or serve few programs.
_LAZY = ("plot", "testing", "io", "parallel")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"latentem.{name}")
    raise AttributeError(f"module 'latentem' has no attribute {name!r}")
