"""`auditor style` on a small model: what is written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from auditor.cli import app
from auditor.cli.style import sizes
from auditor.errors import AuditError, ConfigError, DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("content", "one", "two"):
        Image.fromarray(rng.integers(0, 256, (24, 36), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def style(folder: Path, *options: str, styles: tuple[str, ...] = ("one",), out: str = "out.png") -> None:
    names = [str(folder / f"{name}.png") for name in ("content", *styles)]
    given = ["style", *names, "--model", "demo:digits", "--device", "cpu", "--evaluations", "4", "--out", str(folder / out)]
    CliRunner().invoke(app, [*given, *options], catch_exceptions=False)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_the_picture_is_written_and_differs_from_its_content(folder: Path) -> None:
    style(folder)
    made = pixels(folder / "out.png")
    assert made.shape == (24, 36)
    assert np.abs(made - pixels(folder / "content.png")).mean() > 1
    style(folder, out="again.jpg")
    assert np.abs(pixels(folder / "again.jpg") - made).mean() < 5


def test_without_style_and_variation_the_content_comes_back(folder: Path) -> None:
    style(folder, "--style-weight", "0", "--variation", "0")
    assert np.array_equal(pixels(folder / "out.png"), pixels(folder / "content.png"))


def test_a_blend_of_one_and_nothing_is_the_single_style(folder: Path) -> None:
    style(folder)
    style(folder, "--blend", "1,0", styles=("one", "two"), out="blend.png")
    style(folder, "--blend", "0,1", styles=("one", "two"), out="other.png")
    assert np.array_equal(pixels(folder / "out.png"), pixels(folder / "blend.png"))
    assert not np.array_equal(pixels(folder / "out.png"), pixels(folder / "other.png"))


def test_sizes_run_from_coarse_to_fine() -> None:
    assert sizes((1024, 768)) == [(256, 192), (512, 384), (1024, 768)]
    assert sizes((300, 200)) == [(300, 200)]


def refused(folder: Path, *options: str, **more: object) -> AuditError:
    with pytest.raises(AuditError) as caught:
        style(folder, *options, **more)  # type: ignore[arg-type]
    return caught.value


def test_what_cannot_be_done_is_refused_before_anything_is_written(folder: Path) -> None:
    assert isinstance(refused(folder, styles=("missing",)), DataError)
    assert isinstance(refused(folder, "--blend", "1,2"), UsageError)
    assert isinstance(refused(folder, out="out.gif"), ConfigError)
    assert isinstance(refused(folder, "--style-weight", "-1"), UsageError)
    assert not list(folder.glob("out*"))
    (folder / "out.png").write_bytes(b"mine")
    assert "--force" in str(refused(folder))
    assert (folder / "out.png").read_bytes() == b"mine"
    style(folder, "--force")
    assert pixels(folder / "out.png").shape == (24, 36)
