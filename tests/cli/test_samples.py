"""jaxplain samples: images to try the other commands with."""

from jaxplain.concepts import NAMES
from jaxplain.workflows import _samples


def test_writes_folders_and_says_where(run, tmp_path):
    status, out, err = run("samples", tmp_path, "--count", 2)
    assert (status, err) == (0, "")
    for name in ("textures", "concepts", "efficientnet-lite0.pth"):
        assert f"{tmp_path / name}: " in out
    assert len(list((tmp_path / "concepts").rglob("*.png"))) == 2 * (len(NAMES) + 1)
    again = run("samples", tmp_path)
    assert (again.status, again.out) == (2, "")
    assert again.err == (
        f"jaxplain: {tmp_path / 'textures'} is there already, expected a place for new samples; name another folder.\n"
    )


def test_says_that_there_are_no_weights(run, tmp_path, monkeypatch):
    monkeypatch.setattr(_samples, "available", lambda: {"efficientnet_lite0": None})
    status, out, _ = run("samples", tmp_path, "--count", 1)
    assert status == 0
    assert "No weights are among them, since the demo extra is not installed." in out
