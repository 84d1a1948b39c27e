"""The beta-binomial model: prompts of a cell pass with shares drawn from one beta(a, b), takes of a prompt by chance.

Maximum likelihood over counts, in the form of Griffiths (1973, Biometrics 29:637): with A_i prompts that passed more
than i takes, B_i that failed more than i and C_i that have more than i takes,

    log L = sum_i A_i log(a + i) + B_i log(b + i) - C_i log(a + b + i)   (and what does not depend on a and b)

so its cost depends on the number of takes alone, never on that of prompts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Bounds of a and b. Under 0.005 the posterior mean of a prompt that always passed could leave the 95% interval.
SMALLEST, LARGEST = 0.05, 1e4

#: Twice the gain in log L over one share for all that chance alone gives in 5% of cells: the hypothesis lies on the
#: bound of the model, so half of the mass is at 0 and half is chi-squared of 1 (Self and Liang 1987).
OVERDISPERSED = 2.706

_DIGITS = 6  # of a and b: the optimiser finds no more


def fit(passed: Counts, takes: Counts, prompts: Counts) -> tuple[float, float] | None:
    """Parameters a and b by maximum likelihood; None where the prompts' shares do not differ by more than chance.

    `prompts[j]` prompts passed `passed[j]` of `takes[j]` takes.
    """
    from scipy.optimize import minimize

    steps = np.arange(int(takes.max(initial=0)))
    more_passed, more_failed, more_takes = (
        prompts @ (count[:, None] > steps) for count in (passed, takes - passed, takes)
    )
    n_passed, n_takes = int(prompts @ passed), int(prompts @ takes)
    if n_passed in (0, n_takes):
        return None
    mean = n_passed / n_takes
    total = int(prompts.sum())

    def loss(logs: Floats) -> tuple[float, Floats]:
        a, b = np.exp(logs)
        value = more_passed @ np.log(a + steps) + more_failed @ np.log(b + steps) - more_takes @ np.log(a + b + steps)
        both = more_takes @ (1 / (a + b + steps))
        slope = np.array([a * (more_passed @ (1 / (a + steps)) - both), b * (more_failed @ (1 / (b + steps)) - both)])
        return -value / total, -slope / total

    bounds = [(np.log(SMALLEST), np.log(LARGEST))] * 2
    # Two prompts' worth of evidence: between U-shaped and peaked distributions, from where either is reached.
    start = np.clip(np.log([2 * mean, 2 * (1 - mean)]), *bounds[0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    alike = n_passed * np.log(mean) + (n_takes - n_passed) * np.log1p(-mean)
    if 2 * (-found.fun * total - alike) <= OVERDISPERSED:
        return None
    a, b = (float(f"{value:.{_DIGITS}g}") for value in np.exp(found.x))
    return a, b


def posterior(passed: Counts, takes: Counts, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and the ends of the equal-tailed 95% credible interval of each prompt's share, given its cell's a and b."""
    from scipy.special import betaincinv  # what scipy.stats.beta.ppf calls; that takes a second to import

    up, down = a + passed, b + takes - passed
    mean = up / (up + down)
    # A rounding of the quantile must not put the mean outside.
    low, high = np.minimum(betaincinv(up, down, 0.025), mean), np.maximum(betaincinv(up, down, 0.975), mean)
    return mean, low, high
