"""Audit folders of a classifier, written as `run` writes them, for the verbs that need no model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from auditor import store
from auditor.config import load_config
from auditor.folder import judge_folder, write_judgement
from tests.gate.world import Columns, audit


def write_folder(folder: Path, columns: Columns, *, policy: dict[str, Any] | None = None, **more: Any) -> Path:
    """The audit in `folder`; judged and exported under `policy` where there is one."""
    import dataclasses

    columns = {"index": np.arange(len(columns["label"])), **columns}
    files = store.write_artifacts(folder, "samples", {"inputs-0.png": np.zeros((8, 8, 3), dtype=np.uint8)})
    files |= store.write_columns(folder, columns)
    record = dataclasses.replace(audit(columns, **more), name=folder.name, files=files)
    store.write_audit(folder, record)
    if policy is not None:
        write_judgement(folder, judge_folder(folder, load_config({"gate": policy})))
    return folder


def called(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the command, in this process."""
    import contextlib
    import io
    import sys
    from unittest import mock

    from auditor.cli import main

    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(cwd)
    try:
        with (
            mock.patch.object(sys, "argv", ["auditor", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        os.chdir(before)
    return code, out.getvalue(), err.getvalue()
