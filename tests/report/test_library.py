from __future__ import annotations

import base64
import gzip
import hashlib

from auditor.report import engine


def test_what_the_page_unpacks_is_the_library_that_its_policy_lets_run() -> None:
    unpacked = gzip.decompress(base64.b64decode(engine.compressed()))
    assert unpacked.decode() == engine.plotly()
    assert len(engine.compressed()) < len(unpacked) / 2
    hashed = base64.b64encode(hashlib.sha256(unpacked).digest()).decode()
    assert f"'sha256-{hashed}'" in engine.policy(str(engine.plotly()))
