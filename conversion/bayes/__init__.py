"""Bayesian sparsification: weights are distributions while they learn, and those that the data do not determine go.

The method `bayes` of recipes: `Spec`, `plan`, `prepare`, `constraint`, `compress`, as all methods have them.
"""

from .method import NEEDS_STAGES, Spec, compress, constraint, plan, prepare

__all__ = ["NEEDS_STAGES", "Spec", "compress", "constraint", "plan", "prepare"]
