from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

from auditor.report import charts, engine


def test_what_the_page_unpacks_is_the_library_that_its_policy_lets_run() -> None:
    unpacked = gzip.decompress(base64.b64decode(engine.compressed()))
    assert unpacked.decode() == engine.plotly()
    assert len(engine.compressed()) < len(unpacked) / 2
    hashed = base64.b64encode(hashlib.sha256(unpacked).digest()).decode()
    assert f"'sha256-{hashed}'" in engine.policy(str(engine.plotly()))


def test_the_library_has_every_trace_that_the_page_draws() -> None:
    """A kind that the bundle lacks would be drawn as a scatter, silently."""
    drawn = {
        kind for path in Path(charts.__file__).parent.glob("*.py") for kind in re.findall(r'"type": "(\w+)"', path.read_text())
    }
    drawn |= set(re.findall(r'type: "(\w+)"', str(engine.asset("app.js"))))
    kinds = drawn - {"data", "log"}  # of error bars and axes
    known = set(re.findall(r'moduleType:"trace",name:"(\w+)"', str(engine.plotly())))
    assert {"bar", "scatter", "heatmap"} <= kinds <= known
