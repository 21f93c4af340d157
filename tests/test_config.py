from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.cli.init import write_config
from auditor.config import Rule, Settings, json_schema, load_config
from auditor.errors import ConfigError

ROOT = Path(__file__).parent.parent


def ruled(**keys: Any) -> dict[str, Any]:
    return {"gate": {"rules": [{"measure": "performance.top1", **keys}]}}


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.toml"
    path.write_text("""
requires = ">=0.0.1,<99"
[target]
model = "m.py:net"
model_args = { width = 2 }
mean = [0.5, 0.5, 0]
resize = [32, 48]
crop = 32
[data]
path = "photos"
depth16 = "max=4095"
[probes.occlusion]
images = 8
[profiles.nightly.adversarial]
images = 500
[gate]
confidence = 0.9
decide = "point"
coverage = 1
[[gate.rules]]
measure = "performance.top1"
at_least = 0.8
[[gate.rules]]
measure = "inversion.psnr.blocks.2.conv"
at_most = 30
level = "warn"
on_inconclusive = "pass"
[[gate.rules]]
measure = "inversion.psnr"
scope = "blocks.2"
at_least = 3
""")
    settings = load_config(path)
    assert settings == load_config(str(path))
    assert settings.target.model_dump(exclude_none=True, exclude_unset=True) == {
        "model": "m.py:net",
        "model_args": {"width": 2},
        "mean": [0.5, 0.5, 0.0],
        "resize": [32, 48],
        "crop": 32,
    }
    assert (settings.data.path, settings.data.depth16) == ("photos", "max=4095")
    assert settings.probes == {"occlusion": {"images": 8}}
    assert settings.profiles == {"nightly": {"adversarial": {"images": 500}}}
    assert (settings.gate.confidence, settings.gate.decide, settings.gate.coverage) == (0.9, "point", 1.0)
    first, second, third = settings.gate.rules
    assert (first.probe, first.name, first.part, first.line, first.level) == ("performance", "top1", "", 0.8, "fail")
    assert (second.probe, second.name, second.part, second.line) == ("inversion", "psnr", "blocks.2.conv", 30.0)
    assert (third.name, third.part) == ("psnr", "blocks.2")


def test_an_empty_configuration_has_the_defaults() -> None:
    settings = load_config({})
    assert settings == Settings()
    assert (settings.gate.rules, settings.gate.confidence, settings.gate.decide, settings.gate.coverage) == (
        [],
        0.95,
        "bounds",
        0.99,
    )


def test_a_mapping_may_hold_tuples_and_paths() -> None:
    settings = load_config({"target": {"mean": (0.5,), "weights": Path("w.pt")}})
    assert (settings.target.mean, settings.target.weights) == ([0.5], "w.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"gatee": {}}, ["the file has no key 'gatee'", "did you mean 'gate'?", "target, data, probes"]),
        ({"gate": {"ruless": []}}, ["[gate] has no key 'ruless'", "'rules'", "confidence, decide, coverage"]),
        ({"target": {"modl": "x"}}, ["[target] has no key 'modl'", "'model'", "interpolation"]),
        ({"data": {"grup": "x"}}, ["[data] has no key 'grup'", "'group'", "path, train, label_map, group, depth16"]),
        ({"report": {"images": "all"}}, ["[report] has no key 'images'"]),
        (ruled(atleast=0.5), ["[[gate.rules]] number 1 has no key 'atleast'", "'at_least'", "on_inconclusive"]),
        (ruled(at_least=0.5, no_worse_than_baseline_by=0.1), ["exactly one of"]),
        (ruled(no_worse_than_baseline_by=0.0), ["no_worse_than_baseline_by: expected a value greater than 0, got 0"]),
        (ruled(at_least=0.5, slice="=x"), ["slice: expected a column of the manifest, or column=value"]),
        (ruled(at_least=0.5, require_proof=1), ["require_proof: expected true or false, got 1"]),
        (ruled(), ["[[gate.rules]] number 1", "exactly one of at_least, at_most and no_worse_than_baseline_by"]),
        (ruled(at_least=0.5, at_most=0.6), ["exactly one of at_least, at_most and no_worse"]),
        (ruled(at_least="0.5"), ["at_least: expected a number, got '0.5'"]),
        (ruled(at_least=True), ["at_least: expected a number, got True"]),
        (ruled(at_least=math.nan), ["at_least: expected a finite number, got nan"]),
        (ruled(at_most=math.inf), ["at_most: expected a finite number, got inf"]),
        (ruled(at_least=0.5, level="error"), ["level: expected 'fail' or 'warn', got 'error'"]),
        (ruled(at_least=0.5, on_inconclusive="warn"), ["on_inconclusive: expected 'inconclusive', 'pass' or 'fail'"]),
        ({"gate": {"rules": [{"at_least": 1}]}}, ["number 1 lacks the key 'measure'"]),
        ({"gate": {"rules": [{"measure": "top1", "at_least": 1}]}}, ["expected probe.measure", "got 'top1'"]),
        ({"gate": {"rules": [{"measure": "a.b.c", "scope": "d", "at_least": 1}]}}, ["the scope stands twice"]),
        ({"gate": {"rules": [{"measure": "a.b", "at_least": 1}] * 2}}, ["two rules on a.b are the same"]),
        ({"gate": {"rules": {"measure": "a.b"}}}, ["[[gate.rules]]: expected a list"]),
        ({"gate": {"rules": ["a.b"]}}, ["[[gate.rules]] number 1: expected a table, got 'a.b'"]),
        ({"gate": {"confidence": 1}}, ["[gate], confidence: expected a value less than 1"]),
        ({"gate": {"confidence": 0.5}}, ["greater than 0.5"]),
        ({"gate": {"coverage": 1.1}}, ["[gate], coverage", "1.1"]),
        ({"gate": {"decide": "guess"}}, ["expected 'bounds' or 'point'"]),
        ({"gate": 3}, ["[gate]: expected a table, got 3"]),
        ({"target": {"resize": "big"}}, ["[target], resize: expected a side such as 224, or [height, width], got 'big'"]),
        ({"target": {"crop": [1, 2, 3]}}, ["crop: expected a side"]),
        ({"target": {"crop": 0}}, ["crop: expected a side"]),
        ({"target": {"mean": [0.5, "x"]}}, ["[target], mean, 1: expected a number, got 'x'"]),
        ({"target": {"task": "detection"}}, ["expected 'classification' or 'features'"]),
        ({"data": {"depth16": "max=0"}}, ["depth16: expected full, minmax or max=N, got 'max=0'"]),
        ({"probes": {"occlusion": 3}}, ["[probes], occlusion: expected a table, got 3"]),
        ({"requires": 3}, ["requires: expected text, got 3"]),
        ({"requires": "0.1"}, ['expected versions such as ">=0.1,<1"']),
        ({"requires": ">=99"}, [f"requires auditor >=99, this is {auditor.__version__}"]),
    ],
)
def test_what_is_wrong_is_told_in_one_line(content: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(content)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[gate]\nconfidence = \n", ["is not valid TOML", "line 2"]),
        (b"# \xff\n", ["is not UTF-8"]),
        (b"[gate]\nconfidense = 0.9\n", ["audit.toml: [gate] has no key 'confidense'", "'confidence'"]),
    ],
)
def test_a_wrong_file_is_told_with_its_name(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "audit.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [word for word in ["audit.toml", *words] if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["gone.toml", "."])
def test_a_missing_file_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / name)


@pytest.mark.parametrize(
    ("requires", "fits"),
    [("==0.1", True), ("==0.1.0", True), (">=0.1,<0.2", True), (">0.1", False), ("!=0.1", False), ("<=0.0.9", False)],
)
def test_a_version_is_compared_by_its_numbers(monkeypatch: pytest.MonkeyPatch, requires: str, fits: bool) -> None:
    monkeypatch.setattr(auditor, "__version__", "0.1.0")
    if fits:
        assert load_config({"requires": requires}).requires == requires
    else:
        with pytest.raises(ConfigError, match="requires auditor"):
            load_config({"requires": requires})


def test_ten_is_above_nine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "__version__", "0.10.0rc1")
    load_config({"requires": ">=0.9"})


def test_the_policys_digest_is_of_the_gate_alone() -> None:
    one = load_config(ruled(at_least=0.5))
    assert one.gate.digest == load_config({**ruled(at_least=0.5), "data": {"path": "x"}}).gate.digest
    assert one.gate.digest != load_config(ruled(at_least=0.6)).gate.digest
    assert len(one.gate.digest) == 64


def test_the_published_schema_is_current() -> None:
    """`python -c "import json; from auditor.config import json_schema; print(json.dumps(json_schema(), indent=2))"` writes it."""
    assert json.loads((ROOT / "docs" / "audit.schema.json").read_text()) == json_schema()
    rule = json_schema()["$defs"]["Rule"]
    assert set(rule["properties"]) == set(Rule.model_fields)
    assert rule["additionalProperties"] is False


def test_what_init_writes_loads_with_and_without_its_comments(tmp_path: Path) -> None:
    path = write_config(tmp_path / "audit.toml", force=False)
    assert load_config(path).gate == Settings().gate
    lines = path.read_text().splitlines()
    keys = [line.removeprefix("# ") for line in lines if line.startswith("# ") and (" = " in line or line.startswith("# ["))]
    rest = [line for line in lines if not line.startswith("#")]
    order = [line for line in path.read_text().splitlines() if line.removeprefix("# ") in keys or line in rest]
    path.write_text("\n".join(line.removeprefix("# ") for line in order))
    assert len(load_config(path).gate.rules) == 1
    assert load_config(path).profiles == {"nightly": {"adversarial": {"images": 500}}}
    with pytest.raises(ConfigError, match="was kept"):
        write_config(path, force=False)


@pytest.mark.parametrize("path", sorted((ROOT / "auditor" / "demo").glob("*.toml")), ids=lambda path: path.stem)
def test_the_demos_policies_load(path: Path) -> None:
    assert load_config(path).gate.rules
