"""The wheel carries all that a report and the demo need."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_holds_templates_weights_and_rules(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    for path in (ROOT / "templates").rglob("*"):
        if path.is_file():
            assert f"auditor/_templates/{path.relative_to(ROOT / 'templates').as_posix()}" in held
    for path in (ROOT / "auditor").rglob("*"):
        if path.is_file() and path.suffix in (".py", ".toml", ".safetensors", ".typed"):
            assert path.relative_to(ROOT).as_posix() in held
    assert not any(name.startswith(("tests/", "reports/", "benchmarks/")) for name in held)
