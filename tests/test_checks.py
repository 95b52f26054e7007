"""What is no net, no image, no layer and no target gets one sentence, from every explainer and every measure.

The sentences are read in an interpreter of their own, in which no run-time checks of types come first.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from table import TABLE

TESTS = Path(__file__).parent
SCRIPT = """
import functools, json, pathlib
import jax, numpy as np
import PIL.Image
import jaxplain as jp, nets
from table import TABLE
from flax import nnx
from jaxplain.models import Model

net, x, target = nets.net(nets.RIDGE, nets.params(nets.RIDGE)), nets.images(1)[0], np.eye(5, dtype=np.float32)[2]
heat, measures = np.ones((6, 6), np.float32), jp.metrics
CALLS = {row.name: (row.explain, row.options, ["relu"] * row.layer) for row in TABLE}
CALLS |= {
    "at_layers": (lambda net, x, target, layer: jp.at_layers(jp.eigen_cam, layer)(net, x, target), {}, ["relu"]),
    "tuple of layers": (lambda net, x, target, layer: jp.grad_cam(net, x, target, layer=(layer,)), {}, ["relu"]),
    "deletion": (lambda net, x, target: measures.deletion(net, x, target, heat), {}, []),
    "insertion": (lambda net, x, target: measures.insertion(net, x, target, heat), {}, []),
    "average_drop": (lambda net, x, target: measures.average_drop(net, x, target, heat), {}, []),
    "max_sensitivity": (functools.partial(measures.max_sensitivity, jp.gradient), {"key": jax.random.key(0)}, []),
    "then": (lambda net, x, target: jp.gradient(jp.then(net, jax.nn.softmax), x, target), {}, []),
}
WRONG = {
    "text": {"x": "cat.jpg"},
    "path": {"x": pathlib.Path("cat.jpg")},
    "PIL image": {"x": PIL.Image.new("RGB", (6, 6))},
    "integers": {"x": np.zeros((6, 6, 3), np.uint8)},
    "channels first": {"x": np.zeros((3, 32, 32), np.float32)},
    "four channels first": {"x": np.zeros((4, 32, 32), np.float32)},
    "Model": {"net": Model(net, None, None)},
    "module": {"net": nnx.Linear(1, 1, rngs=nnx.Rngs(0))},
    "dict": {"net": {"kernel": x}},
    "index": {"target": 2},
    "category": {"target": "tabby"},
    "None": {"target": None},
    "layer": {"layer": -1},
}


def said(explain, options, layer, wrong):
    given = {"net": net, "x": x, "target": target} | ({"layer": layer[0]} if layer else {}) | wrong
    positional = [given.pop(name) for name in ("net", "x", "target")]
    try:
        jax.eval_shape(lambda: explain(*positional, **given, **options))
    except ValueError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


found = {
    case: {name: said(*call, wrong) for name, call in CALLS.items() if "layer" not in wrong or call[2]}
    for case, wrong in WRONG.items()
}
X, targets = nets.images(2), np.ones((2, 5), np.float32)
found["transforms"] = [
    said(jp.batched(jp.gradient), {}, [], {"x": "photos", "target": targets}),
    said(jp.batched(jp.gradient), {}, [], {"x": X, "target": "tabby"}),
    said(jp.batched(jp.gradient), {}, [], {"x": X, "target": 2}),
    said(jp.over_classes(jp.gradient), {}, [], {"target": 2}),
    said(jp.over_classes(jp.gradient), {}, [], {"target": ["tabby"]}),
]
print(json.dumps(found))
"""
SENTENCES = {
    "text": r"x is the text 'cat\.jpg', but a preprocessed float image \(H, W, C\) is expected: use model\.prepare\(.*",
    "path": r"x is the path 'cat\.jpg', but a preprocessed float image \(H, W, C\) is expected: use model\.prepare\(.*",
    "PIL image": r"x is a PIL image, but a preprocessed float image \(H, W, C\) is expected: use model\.prepare\(.*",
    "integers": r"x is uint8, but a preprocessed float image is expected: use model\.prepare\.",
    "channels first": r"x has shape \(3, 32, 32\), channels first, .*: use jnp\.moveaxis\(x, 0, -1\)\.",
    "four channels first": r"x has shape \(4, 32, 32\), channels first, .*: use jnp\.moveaxis\(x, 0, -1\)\.",
    "Model": r"The net is a Model, but a function net\(x, site\) is expected: give its net, model\.net\.",
    "module": r"The net is an NNX module, but a function net\(x, site\) is expected: use from_nnx\(module\)\.",
    "dict": r"The net is a dict, but a function net\(x, site\) is expected: see from_linen, .*\.",
    "index": r"The target (is a single number|has shape \(\)), but a covector .* is expected: use one_hot\(k, [5n]\)\.",
    "category": r"The target is the text 'tabby', but a covector .* is expected: use one_hot\(k, [5n]\)\.",
    "None": r"The target is a NoneType, but a covector .* is expected: use one_hot\(k, [5n]\)\.",
    "layer": r"There is no layer -1 in this net; near are 'relu', 'pool', 'dense', .*layers\(net, x\) lists them all\.",
}
NO_TARGET = (
    "eigen_cam",
    "concept_map",
    "fam",
    "channel_map",
    "at_layers",
)  # explainers that the target plays no part in
STACKED = ("concept_attribution", "concept_attribution_chunked")  # whose rows do arithmetic with the target first


@pytest.fixture(scope="module")
def said():
    """{case: {explainer: what it raised}}."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", SENTENCES)
def test_every_explainer_says_the_same_sentence(said, case):
    about_target = case in ("index", "category", "None")
    passed_over = (NO_TARGET + STACKED) if about_target else ()
    wrong = {
        name: text
        for name, text in said[case].items()
        if name not in passed_over and not re.fullmatch(SENTENCES[case], text or "")
    }
    assert wrong == {}
    assert len(said[case]) >= (15 if case == "layer" else len(TABLE))


def test_transforms_say_what_was_given(said):
    """Batches and classes have sentences of their own, since a leading axis is expected there."""
    expected = [
        r"X is the text 'photos', but a batch of images \(B, H, W, C\) is expected\.",
        r"An argument is the text 'tabby' beside a batch of 2 images, .*",
        r"An argument has shape \(\) beside a batch of 2 images, .*",
        r"The last argument has shape \(\), but one covector a row, \(K, n\), is expected: use one_hot\(ks, n\)\.",
        r"The last argument is the text 'tabby', but one covector a row, \(K, n\), is expected: use one_hot\(ks, n\)\.",
    ]
    for sentence, text in zip(expected, said["transforms"], strict=True):
        assert re.fullmatch(sentence, text)
