"""Weight forms: how a matrix [rows, columns] is stored and multiplied without ever being expanded.

A form is one class with: `required` and `optional` (the fields of its spec and their types), `check` (sizes that a
matrix can have), `build` (an empty one) and `from_dense` (the tensors for a given matrix). What `build` makes is a
module with `forward` (product, or rows where it is a lookup table), `rows`, `to_dense` (its plain twin) and `reset`.
"""

from typing import Any

from .factors_rnnlm import Factored, LowRank, TensorTrain
from .leaves_rnnlm import LEAVES, DenseLinear, Int4, Int8
from .sparse_rnnlm import Sparse

FORMS: dict[str, Any] = {**LEAVES, "low_rank": LowRank, "tensor_train": TensorTrain, "sparse": Sparse}
MATRICES = (DenseLinear, Int8, Int4, LowRank, TensorTrain, Sparse)  # the modules that multiply
KINDS = {int: "a positive whole number", list: "a list of positive whole numbers", str: "a text", dict: "a form"}


def is_kind(value: Any, kind: Any) -> bool:
    """Whether a field of a spec has the type that it should have."""
    if kind is list:
        return isinstance(value, list | tuple) and all(is_kind(item, int) for item in value)
    return value >= 1 if kind is int and type(value) is int else type(value) is kind and kind is not int


def check_spec(spec: Any, where: str, forms: dict[str, Any] = FORMS) -> None:
    """Refuses a spec with an unknown form, or with missing, misspelt or wrong-typed fields (ValueError)."""
    form = spec.get("form") if isinstance(spec, dict) else None
    if form not in forms:
        raise ValueError(f"{where} is {spec!r}; give {{'form': one of {', '.join(forms)}, ...}}")
    required, optional = forms[form].required, forms[form].optional
    given = set(spec) - {"form"}
    if not set(required) <= given <= set(required) | set(optional):
        also = f", and may have {sorted(optional)}" if optional else ""
        raise ValueError(f"{where} of form {form} has the fields {sorted(given)}; it takes {sorted(required)}{also}")
    for name in given:
        kind = {**required, **optional}[name]
        if not is_kind(spec[name], kind):
            raise ValueError(f"{where}[{name!r}] is {spec[name]!r}; it must be {KINDS[kind]}")
    if "values" in spec and form != "sparse":  # those of a sparse one are no matrix; its `check` says what they can be
        check_spec(spec["values"], f"{where}['values']", LEAVES)


def check_size(spec: dict, where: str, rows: int, columns: int) -> None:
    """Refuses a spec, already checked by itself, that no matrix [rows, columns] can have (ValueError)."""
    try:
        FORMS[spec["form"]].check(spec, rows, columns)
        if "values" in spec and spec["form"] != "sparse":
            LEAVES[spec["values"]["form"]].check(spec["values"], rows, columns)  # factors of any size
    except ValueError as error:
        raise ValueError(f"{where} of form {spec['form']}: {error}") from None


def build(spec: dict, rows: int, columns: int, bound: float, bias: bool = False, lookup: bool = False) -> Any:
    """An empty matrix [rows, columns] of the form that `spec` names; `lookup`: it is indexed by row.

    `reset()` of it (and of its factors) fills it with the variance of U(-bound, bound).
    """
    form = FORMS[spec["form"]].build(spec, rows, columns, bias, lookup)
    form.bound = float(bound)
    if isinstance(form, Factored):
        for factor in form.factors():
            factor.bound = form.factor_bound(form.bound)
    return form
