"""Feature activation maps: where an image resembles a reference, for networks that compare embeddings.

The embedding q (C,) is the spatial mean of the activation A (h, w, C) at a layer, and the reference is what it is
compared with: a prototype, the other view of a pair, an image of a gallery. jaxplain.similarity has the splits of
similarities into channels.
"""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxplain._loops import reused
from jaxplain._numerics import at_least_float32, contract
from jaxplain._types import Net, Normalisation, Similarity
from jaxplain.explain._cam import check_map
from jaxplain.net import view
from jaxplain.similarity import SPLITS, Split, normalised


def fam(
    net: Net,
    x: ArrayLike,
    reference: ArrayLike,
    *,
    layer: str,
    similarity: Similarity | Split = "cosine",
    normalise: Normalisation = "minmax",
) -> Float[Array, "h w"]:
    """sum over c of w[c] A[..., c], w = normalised(k) and k what channels add to the similarity, (h, w).

    `similarity` is the name of a split (cosine, dot, euclidean, squared_euclidean, l1, dn4) or a split. One forward
    pass up to the layer; several references, as the prototypes of an episode, share it under over_classes. Raises
    ValueError for a reference whose size is not the split's.

    Liao, Gao, Zhang, "Feature Activation Map: Visual Explanation of Deep Learning Models for Image Classification",
    2023.

        fam(net, x, embedding(net, "layer4")(other), layer="layer4")
        over_classes(fam)(net, x, prototypes, layer="layer4", similarity="squared_euclidean")     # (n, h, w)
    """
    activation, _ = view(net, layer, x)
    check_map(activation)
    contributions = fam_contributions(activation, reference, split=similarity)
    return contract("hwc,c->hw", at_least_float32(activation), normalised(contributions, normalise))


@reused
def fam_contributions(activation: ArrayLike, reference: ArrayLike, *, split: Similarity | Split) -> Float[Array, " C"]:
    """What each channel of an activation (h, w, C) adds to the similarity with a reference, signed, (C,).

    `split` is a split or its name, as in fam.
    """
    if isinstance(split, str):
        if split not in SPLITS:
            raise ValueError(f"The similarity is {split!r}, but one of {', '.join(SPLITS)} is expected, or a split.")
        split = SPLITS[split]
    activation = jnp.asarray(activation)
    return split(at_least_float32(activation), jnp.asarray(reference, jnp.float32))
