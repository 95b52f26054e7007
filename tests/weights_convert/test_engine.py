import re
from typing import Any, cast

import jax
import numpy as np
import pytest
import torch

from jaxplain.weights_convert._engine import LAYOUTS, Row, Table, assemble, entry_for, fold, scope_of, source_of
from jaxplain.weights_convert._tables import TABLES, batch_norm, conv, dense

TABLE = Table((*conv(r"(b\d)\.conv", r"\1.bn"), *batch_norm(r"b\d\.bn"), *dense("fc")), epsilon=1e-3)


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, np.float32)


EXPECTED = {
    "b0": {"bn": {"kernel": shape(3, 3, 2, 4), "bias": shape(4)}},
    "b1": {"bn": {"kernel": shape(1, 1, 4, 5), "bias": shape(5)}},
    "fc": {"kernel": shape(5, 3), "bias": shape(3)},
}


def block(inputs, outputs, size):
    block = torch.nn.Sequential()
    block.conv = torch.nn.Conv2d(inputs, outputs, size, bias=False)
    block.bn = torch.nn.BatchNorm2d(outputs, eps=1e-3)
    for values in (block.bn.weight, block.bn.bias, block.bn.running_mean, block.bn.running_var):
        torch.nn.init.uniform_(values, 0.2, 2.0)  # pyright: ignore[reportArgumentType] torch is typed too wide
    return block.eval()


@pytest.fixture
def module():
    torch.manual_seed(0)
    module = torch.nn.Sequential()
    module.b0, module.b1, module.fc = block(2, 4, 3), block(4, 5, 1), torch.nn.Linear(5, 3)
    return module


@pytest.fixture
def entries(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def problems(entries, table=TABLE, expected=EXPECTED):
    with pytest.raises(ValueError, match="entries match") as error:
        assemble(entries, table, expected)
    return str(error.value)


def test_the_tree_and_its_shapes_are_the_expected_ones(entries):
    params = assemble(entries, TABLE, EXPECTED)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), params) == jax.tree.map(lambda a: (a.shape, a.dtype), EXPECTED)
    np.testing.assert_array_equal(params["fc"]["kernel"], entries["fc.weight"].T)


def test_parameters_are_copies(entries):
    params = assemble(entries, TABLE, EXPECTED)
    entries["fc.bias"][:] = 7
    assert not np.any(params["fc"]["bias"] == 7)


@pytest.mark.parametrize("groups", [1, 4])
def test_folding_is_batch_norm_after_the_convolution(groups):
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(4, 8, 3, bias=False, groups=groups).double()
    norm = cast(Any, block(1, 8, 1).bn).double()
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    expected = norm(convolution(x)).detach().numpy()
    leaves = {
        "kernel": convolution.weight.detach().numpy().transpose(2, 3, 1, 0),
        "scale": norm.weight.detach().numpy(),
        "bias": norm.bias.detach().numpy(),
        "mean": norm.running_mean.numpy(),
        "var": norm.running_var.numpy(),
    }
    folded = fold(leaves, norm.eps)
    assert {leaf: values.dtype for leaf, values in folded.items()} == {"kernel": np.float32, "bias": np.float32}
    result = jax.lax.conv_general_dilated(
        x.numpy().transpose(0, 2, 3, 1).astype(np.float32),  # pyright: ignore[reportArgumentType] numpy does here
        folded["kernel"],  # pyright: ignore[reportArgumentType] numpy does here
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    np.testing.assert_allclose(np.asarray(result) + folded["bias"], expected.transpose(0, 2, 3, 1), atol=1e-5)


def test_folding_by_hand():
    leaves = {"kernel": [[[[3.0]]]], "scale": [2.0], "bias": [1.0], "mean": [5.0], "var": [3.0]}
    folded = fold({leaf: np.array(values) for leaf, values in leaves.items()}, epsilon=1.0)
    np.testing.assert_array_equal(folded["kernel"], [[[[3.0]]]])
    np.testing.assert_array_equal(folded["bias"], [-4.0])


def test_layers_without_statistics_keep_their_values():
    table = Table((*conv("a", "a"), Row(r"a\.bias", "a/bias")), epsilon=1e-5)
    kernel, bias = np.arange(6.0).reshape(2, 3, 1, 1), np.ones(2)
    expected = {"a": {"kernel": shape(1, 1, 3, 2), "bias": shape(2)}}
    params = assemble({"a.weight": kernel, "a.bias": bias}, table, expected)
    np.testing.assert_array_equal(params["a"]["kernel"][0, 0], kernel[:, :, 0, 0].T)
    np.testing.assert_array_equal(params["a"]["bias"], bias)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions_become_float32(entries, dtype):
    params = assemble({name: values.astype(dtype) for name, values in entries.items()}, TABLE, EXPECTED)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))


def test_every_kind_of_problem_is_listed_at_once(entries):
    del entries["b0.bn.running_var"]
    entries["b2.conv.weight"] = np.ones((1, 1, 1, 1))
    entries["stray"] = np.ones(1)
    entries["b0.conv.weight"] = np.ones((4, 2, 5, 3))
    entries["b1.conv.weight"] = np.ones(3)
    entries["fc.bias"][:2] = np.nan, np.inf
    twice = TABLE._replace(rows=(*TABLE.rows, Row(r"fc\.weigh.", "fc/kernel", "dense")))
    message = problems(entries, twice)
    assert message == (
        "11 of its 15 entries match, expected 12; "
        "missing (1): b0.bn.running_var for b0.bn/var; "
        "unexpected (2): b2.conv.weight, stray; "
        r"matched twice (1): fc.weight by the rows (fc)\.weight and fc\.weigh.; "
        "wrong shape (2): b0.conv.weight for b0.bn/kernel: given (4, 2, 5, 3), expected (4, 2, 3, 3), "
        "b1.conv.weight for b1.bn/kernel: given (3,), expected (5, 4, 1, 1); "
        "not finite (1): fc.bias has NaN and inf"
    )


def test_two_entries_for_one_place(entries):
    table = TABLE._replace(rows=(*TABLE.rows, Row("other", "fc/bias")))
    message = problems({**entries, "other": entries["fc.bias"]}, table)
    assert "matched twice (1): fc/bias by the entries fc.bias and other" in message


def test_places_that_no_row_fills(entries):
    message = problems(entries, expected=EXPECTED | {"extra": {"kernel": shape(1)}})
    assert "missing (1): extra/kernel, which no row of the table fills" in message


@pytest.mark.parametrize(("name", "value"), [("b0.bn.running_var", -1.0), ("fc.bias", 1e300)])
def test_what_is_not_finite_only_when_folded(entries, name, value):
    entries[name] = np.full(entries[name].shape, value)
    scope = name.rpartition(".")[0]
    assert f"not finite (1): {scope}" in problems(entries)


def test_long_lists_are_cut(entries):
    entries |= {f"stray{i}": np.ones(1) for i in range(40)}
    message = problems(entries)
    assert "unexpected (40)" in message
    assert "stray9 and 30 more" in message
    assert "stray10" not in message


def test_a_file_for_another_network_is_reported_shortly():
    message = problems({f"stray{i}": np.ones(1) for i in range(40)})
    assert message.startswith("0 of its 40 entries match, expected 12; missing (12)")
    assert "stray2 and 37 more" in message


def test_epsilon_is_the_tables(entries):
    kernels = [assemble(entries, TABLE._replace(epsilon=e), EXPECTED)["b0"]["bn"]["kernel"] for e in (1e-3, 1.0)]
    assert not np.allclose(*kernels)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_compile_and_name_a_known_layout(table):
    for row in table.rows:
        groups = re.compile(row.source).groups
        assert row.layout in LAYOUTS
        assert row.target is None or re.findall(r"\\(\d)", row.target) == [str(1 + i) for i in range(groups)]


@pytest.mark.parametrize(
    ("model", "target", "source"),
    [
        ("resnet50", "bn1/kernel", "conv1.weight"),
        ("resnet50", "layer1.0.bn2/kernel", "layer1.0.conv2.weight"),
        ("resnet50", "layer4.2.bn3/var", "layer4.2.bn3.running_var"),
        ("resnet50", "layer2.0.downsample.1/kernel", "layer2.0.downsample.0.weight"),
        ("resnet50", "fc/bias", "fc.bias"),
        ("resnet50", "fc/mean", None),
        ("efficientnet_lite0", "_blocks.10._bn1/kernel", "_blocks.10._depthwise_conv.weight"),
        ("efficientnet_lite0", "_bn1/kernel", "_conv_head.weight"),
    ],
)
def test_tables_are_read_backwards(model, target, source):
    assert source_of(target, TABLES[model]) == source


def test_flattened_kernels_follow_rows_columns_channels():
    """Of torch's (out, C 7 7), the weight for channel c at (i, j) is at i 7 C + j C + c."""
    flattened, *_ = LAYOUTS["flattened"]
    kernel = np.arange(2 * 3 * 49, dtype=np.float32).reshape(2, 3 * 49)
    ours = flattened(kernel)
    assert ours.shape == (49 * 3, 2)
    assert ours[(4 * 7 + 5) * 3 + 2, 1] == kernel[1, (2 * 7 + 4) * 7 + 5]
    np.testing.assert_array_equal(ours, flattened(kernel.reshape(2, 3, 7, 7)))
    other = np.arange(100.0).reshape(2, 50)
    np.testing.assert_array_equal(flattened(other), other.T)


@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 40])
@pytest.mark.parametrize(
    ("layout", "shape", "axes"),
    [("conv", (3, 5, 2), (2, 3, 1, 0)), ("dense", (7,), (1, 0)), ("flattened", (50,), (1, 0)), ("vector", (), (0,))],
)
def test_layouts_are_new_arrays_in_order(layout, shape, axes, outputs):
    values = np.random.default_rng(0).normal(size=(outputs, *shape))
    result = LAYOUTS[layout][0](values)
    np.testing.assert_array_equal(result, values.transpose(axes))
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, values)


def test_integers_are_no_parameters(entries):
    entries["fc.weight"] = np.ones((3, 5), np.int8)
    assert problems(entries).endswith("; no floats (1): fc.weight has int8")


@pytest.mark.parametrize("prefix", ["", "model.", "model.backbone.", "module._orig_mod.", "fc2."])
@pytest.mark.parametrize("beside", [[], ["criterion.weight", "n_averaged", "head.bias"]])
def test_the_scope_that_fits_best_is_found(entries, prefix, beside):
    assert scope_of([prefix + name for name in entries] + beside, TABLE, 12) == prefix


@pytest.mark.parametrize("names", [["model.fc.weight", "head.bias"], ["features.0.weight"], ["x"], []])
def test_of_few_known_names_no_scope_is_taken(names):
    assert scope_of(names, TABLE, 12) == ""


def test_tables_are_read_forwards():
    vgg = TABLES["vgg16"]
    assert entry_for("classifier.6/bias", {"head.fc.bias": np.ones(3)}, vgg) == "head.fc.bias"
    assert entry_for("classifier.6/bias", {"classifier.6.bias": np.ones(3)}, vgg) == "classifier.6.bias"
    assert entry_for("classifier.6/bias", {"classifier.6.weight": np.ones((3, 2))}, vgg) is None
