"""How faithful an explanation is: pure functions of one image, batched like explainers.

    batched(deletion)(net, X, targets, heats)                          # curves with a leading axis B
    batched(functools.partial(max_sensitivity, gradient))(net, X, targets, key=key)

`heat` is a map (H, W) at the image's own size, in which more is more important: `upsample` class activation maps, and
choose a sign with `positive`. Scores are <target, outputs>, so logits; `then(net, jax.nn.softmax)` measures
probabilities of classes, `then(net, jax.nn.sigmoid)` those of labels and of one output. `fill` is what removed pixels
become, in the units of x: a number, a colour (3,) or an image (H, W, C). Pixels are removed in the order of the map, of
equal ones the first in reading order first. A map without an order, which is constant or has NaN, gets no score that
needs one, but NaN.
"""

from jaxplain.metrics._curves import FRACTIONS, PUBLISHED_FRACTIONS, Curve, allegiance, deletion, insertion
from jaxplain.metrics._localisation import energy_in_box, pointing_game
from jaxplain.metrics._masking import average_drop, increase_in_confidence
from jaxplain.metrics._randomisation import randomisation
from jaxplain.metrics._ranks import rank_correlation
from jaxplain.metrics._robustness import infidelity, max_sensitivity

__all__ = [
    "FRACTIONS", "PUBLISHED_FRACTIONS", "Curve", "allegiance", "average_drop", "deletion", "energy_in_box",
    "increase_in_confidence", "infidelity", "insertion", "max_sensitivity", "pointing_game", "randomisation",
    "rank_correlation",
]  # fmt: skip
