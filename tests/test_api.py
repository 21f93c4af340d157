"""auditor from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.errors import ConfigError, PolicyError, StoreError, UsageError
from auditor.preprocess import Geometry, Preprocess

PREPROCESS = Preprocess(Geometry("RGB", (8, 8), None, "nearest"), (0.5,) * 3, (0.25,) * 3)


class Brightest(nn.Module):
    """Class k is the channel that is brightest; scores in units of the normalised input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(torch.eye(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


def data(n: int = 60, wrong: int = 12) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (n, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(n) % 3
    images[np.arange(n), :, :, labels] += 100
    labels[:wrong] = (labels[:wrong] + 1) % 3
    return images, labels


@pytest.fixture
def audit(tmp_path: Path) -> auditor.Audit:
    return auditor.run(
        Brightest(), data(), preprocess=PREPROCESS, probes=["performance", "neighbours"], out=tmp_path / "x", device="cpu"
    )


def test_figures_are_those_of_the_data(audit: auditor.Audit) -> None:
    assert audit["performance"]["top1"].value == pytest.approx(48 / 60)
    assert audit["performance"]["top1"].k == 48
    assert audit["performance"].status == "done"
    assert audit["filters"].status == "skipped"
    assert audit.verdict is not None
    assert audit.verdict.verdict == "not_gated"
    assert audit.index.is_file()


def test_a_policy_is_a_path_a_mapping_or_settings(audit: auditor.Audit, tmp_path: Path) -> None:
    rule = {"measure": "performance.top1", "at_least": 0.6}
    assert audit.check({"gate": {"rules": [rule]}}).verdict == "pass"
    assert audit.check({"gate": {"rules": [rule | {"at_least": 0.95}]}}).exit_code == 1
    assert audit.check({"gate": {"rules": [rule | {"at_least": 0.8}]}}).exit_code == 4
    (tmp_path / "audit.toml").write_text('[[gate.rules]]\nmeasure = "performance.top1"\nat_least = 0.6\n')
    assert audit.check(tmp_path / "audit.toml").exit_code == 0
    assert audit.verdict is not None
    assert audit.verdict.verdict == "not_gated", "a check writes nothing"


def test_it_shows_itself_in_a_notebook_and_comes_back_from_disk(audit: auditor.Audit) -> None:
    html = audit._repr_html_()
    assert "performance.top1" in html
    assert "0.8" in html
    assert auditor.open_audit(audit.path)["performance"]["top1"] == audit["performance"]["top1"]
    with pytest.raises(StoreError):
        auditor.open_audit(audit.path.parent / "none")


def test_the_same_run_is_kept_and_another_needs_force(audit: auditor.Audit) -> None:
    again = {"preprocess": PREPROCESS, "probes": ["performance", "neighbours"], "out": audit.path, "device": "cpu"}
    before = (audit.path / "audit.json").read_bytes()
    auditor.run(Brightest(), data(), **again)
    assert (audit.path / "audit.json").read_bytes() == before
    with pytest.raises(StoreError, match="--force"):
        auditor.run(Brightest(), data(wrong=3), **again)
    assert (audit.path / "audit.json").read_bytes() == before
    auditor.run(Brightest(), data(wrong=3), **again, force=True)
    assert auditor.open_audit(audit.path)["performance"]["top1"].k == 57


def test_wrong_names_are_told_before_the_work(tmp_path: Path) -> None:
    common = {"preprocess": PREPROCESS, "out": tmp_path / "x", "device": "cpu"}
    with pytest.raises(ConfigError, match="there is no probe"):
        auditor.run(Brightest(), data(), probes=["magic"], **common)
    with pytest.raises(PolicyError, match=r"performance\.top2"):
        auditor.run(Brightest(), data(), config={"gate": {"rules": [{"measure": "performance.top2", "at_least": 0.5}]}}, **common)
    with pytest.raises(ConfigError, match="gallerie"):
        auditor.run(Brightest(), data(), config={"probes": {"performance": {"gallerie": 3}}}, **common)
    assert list(tmp_path.iterdir()) == []


def test_attribute_serves_without_an_audit() -> None:
    model, x = Brightest().train(), torch.rand(2, 3, 8, 8)
    grad = auditor.attribute(model, x, target=1, method="saliency")
    torch.testing.assert_close(grad, torch.full((2, 8, 8), 1 / 64))
    whole = auditor.attribute(model, x, target=torch.tensor([0, 2]), method="integrated_gradients", steps=4)
    torch.testing.assert_close(whole.sum((1, 2, 3)), torch.stack([x[0, 0].mean(), x[1, 2].mean()]))
    drop = auditor.attribute(model, x, target=1, method="occlusion", window=4, stride=4)
    torch.testing.assert_close(drop[:, 0, 0], x[:, 1, :4, :4].sum((1, 2)) / 64)
    assert auditor.attribute(model, x, target=1, method="smoothgrad", samples=2).shape == x.shape
    assert model.training
    for bad, words in (
        ({"method": "magic"}, "occlusion, saliency"),
        ({"method": "saliency", "window": 3}, "window"),
        ({"target": 9, "window": 4, "stride": 4}, "9"),
    ):
        with pytest.raises(UsageError, match=words):
            auditor.attribute(model, x, **({"target": 1} | bad))


def test_a_public_name_stays_what_it_is_when_its_module_is_loaded() -> None:
    import importlib
    import pkgutil

    for info in pkgutil.iter_modules(auditor.__path__):
        if info.name != "__main__":
            importlib.import_module(f"auditor.{info.name}")
    kinds = {name: type(getattr(auditor, name)).__name__ for name in auditor.__all__}
    assert "module" not in kinds.values(), kinds


def test_importing_auditor_loads_no_torch() -> None:
    script = "import sys, auditor; assert auditor.__version__; assert not {'torch', 'numpy'} & set(sys.modules), 'loaded'"
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="magic"):
        _ = auditor.magic


def test_a_mistaken_option_or_profile_is_told_and_ones_own_profile_is_heard(tmp_path: Path) -> None:
    common = {"preprocess": PREPROCESS, "out": tmp_path / "x", "device": "cpu"}
    with pytest.raises(ConfigError, match="no option 'sed'"):
        auditor.run(Brightest(), data(), sed=3, **common)
    with pytest.raises(ConfigError, match="there is no profile 'fast'"):
        auditor.run(Brightest(), data(), profile="fast", **common)
    own = {"profiles": {"mine": {"performance": {"gallery": 3}}}}
    audit = auditor.run(Brightest(), data(), config=own, profile="mine", probes="performance", **common)
    assert audit["performance"].parameters["gallery"] == 3


def test_a_function_as_preprocessing_gives_the_same_audit_again_and_another_state_another(tmp_path: Path) -> None:
    def prepare(k: float) -> Any:
        return lambda image: torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) * k

    keys = []
    for i, k in enumerate((1.0, 1.0, 50.0)):
        audit = auditor.run(Brightest(), data(), preprocess=prepare(k), probes="performance", out=tmp_path / str(i), device="cpu")
        keys.append(audit.record.provenance["key"])
        assert "0x" not in (audit.path / "audit.json").read_text()
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(("rules", "done"), [([{"measure": "performance.ece", "at_most": 0.9}], True), ([], False)])
def test_a_rule_by_an_old_name_brings_the_probe_that_holds_its_figure_today(tmp_path: Path, rules: Any, done: bool) -> None:
    from auditor import testing

    model, data = testing.world()
    audit = auditor.run(
        model, data, preprocess=testing.PREPROCESS, probes="performance", out=tmp_path / "a", work=tmp_path / "w",
        config={"gate": {"rules": rules}}, device="cpu",
    )  # fmt: skip
    assert (audit["calibration"].status == "done") is done
    if done:
        assert audit.verdict is not None
        assert [(o.id, o.verdict) for o in audit.verdict.outcomes[:1]] == [("calibration.ece", "pass")]


def test_the_features_of_every_image_are_kept_where_asked(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    how: dict[str, Any] = {"preprocess": PREPROCESS, "probes": "performance", "device": "cpu"}
    plain = auditor.run(Brightest(), data(), out=tmp_path / "plain", **how)
    kept = auditor.run(Brightest(), data(), out=tmp_path / "kept", keep_features=True, **how)
    assert not (plain.path / "features.parquet").exists()
    table = pq.ParquetFile(kept.path / "features.parquet").read()
    images, _ = data()
    expected = ((images / 255 - 0.5) / 0.25).mean((1, 2))
    np.testing.assert_allclose(np.array(table.column("features").to_pylist()), expected, atol=1e-5)
    assert set(kept.record.files) - set(plain.record.files) == {"features.parquet"}
