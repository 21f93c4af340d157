"""A package of somebody else's: made by `probes new`, installed, found, run, rendered with its own template, its contract tested."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor import probes
from auditor.cli.probes import new
from auditor.errors import ConfigError
from auditor.probe import Probe
from auditor.probes import brought

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the plug-in `brightness`, installed as pip does."""
    folder = tmp_path_factory.mktemp("plugin")
    before = Path.cwd()
    os.chdir(folder)
    try:
        new("brightness")
    finally:
        os.chdir(before)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "auditor-brightness")], check=True, capture_output=True)
    return folder


def called(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site / "site"), str(ROOT)])
    return subprocess.run(
        [sys.executable, *command], cwd=site, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_it_is_found_and_explained(site: Path) -> None:
    told = called(site, "-m", "auditor", "probes", "explain", "brightness")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("brightness: Brightness\n\nAsks: How bright are the images")


def test_it_runs_and_its_own_template_is_used(site: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(site / "data.npz", images=rng.integers(0, 256, (40, 28, 28), dtype=np.uint8), labels=np.arange(40) % 10)
    run = [
        "-m",
        "auditor",
        "run",
        "--model",
        "net.py:net",
        "--mean",
        "0.5",
        "--std",
        "0.5",
        "--data",
        "data.npz",
        "--out",
        "out/a",
    ]
    (site / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10))\n"
    )
    told = called(site, *run, "--probes", "brightness,performance", "--work", "work")
    assert told.returncode == 0, told.stderr
    page = (site / "out/a/index.html").read_text()
    assert "This section comes from the plug-in auditor-brightness." in page
    assert page.index('id="performance"') < page.index('id="brightness"'), "a plug-in's section comes after ours"
    policy = site / "audit.toml"
    policy.write_text('[[gate.rules]]\nmeasure = "brightness.brightness"\nat_most = 0.5\n')
    assert called(site, "-m", "auditor", "check", "out/a", "--policy", str(policy)).returncode == 0


def test_an_audit_is_rendered_where_the_plug_in_is_missing(site: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-m", "auditor", "render", "out/a"], cwd=site, env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    page = (site / "out/a/index.html").read_text()
    assert "How bright the images are" in page
    assert "comes from the plug-in" not in page


def test_its_contract_test_passes(site: Path) -> None:
    told = called(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "auditor-brightness/tests")
    assert told.returncode == 0, told.stdout
    assert "4 passed" in told.stdout


class Other(Probe):
    """No probe of ours."""

    def conclude(self, target: Any, evidence: Any, results: Any) -> Any:
        return None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gone", "no_such_package.gone:Gone", "cannot be loaded: ModuleNotFoundError"),
        ("path", "pathlib:Path", "expected a subclass of auditor.probe.Probe"),
        ("other", "tests.test_plugins:Other", "its module names it 'test_plugins'"),
        ("occlusion", "auditor.probes.occlusion:Occlusion", "there is a probe of that name"),
    ],
)
def test_a_plug_in_that_does_not_fit_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match="the plug-in") as caught:
        brought(EntryPoint(name, value, "auditor.probes"), {"occlusion": Probe})
    assert words in str(caught.value)


@pytest.mark.parametrize("noun", ["Bright", "a-b", "occlusion", "1st", ""])
def test_a_noun_that_cannot_be_is_refused(noun: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="probes new"):
        new(noun)
    assert not list(tmp_path.iterdir())


def test_the_registry_is_made_of_both() -> None:
    assert set(probes.registry()) >= {"performance", "occlusion"}
