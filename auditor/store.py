"""An audit folder: written once by one writer, read by the report and the gate. Needs no torch."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from auditor.errors import StoreError
from auditor.types import (
    SCHEMA_VERSION,
    About,
    Array,
    AuditRecord,
    Figure,
    Json,
    Measure,
    Outcome,
    Section,
    Stamp,
    Value,
    Verdict,
)

MOST_NUMBERS = 1000
"""No array in audit.json is longer: larger ones are artifacts."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically: temporary file, fsync, rename, fsync of the folder. A reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}; free some space or choose another --out") from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can (POSIX)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def plain(value: Any) -> Json:
    """Dataclasses, tuples and numpy scalars as JSON values; what is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):  # surrogates come from names that are not UTF-8 on disk; JSON must stay valid UTF-8
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if value is None or isinstance(value, bool | int):
        return value
    return str(value)


def dumps(value: Any) -> bytes:
    """Canonical JSON: sorted keys, two spaces, UTF-8, a newline at the end."""
    text = json.dumps(plain(value), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """`dumps`, written atomically."""
    write_bytes(path, dumps(value))


def encode(name: str, array: Array) -> bytes:
    """One artifact as the bytes of its file: .png and .jpg from uint8 (H,W), (H,W,1) or (H,W,3); .npy from any numbers."""
    buffer = io.BytesIO()
    if name.endswith(".npy"):
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        return buffer.getvalue()
    from PIL import Image

    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"picture {name!r} needs uint8 (H,W) or (H,W,C); got {pixels.dtype} {pixels.shape}")
    image = Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)
    if name.endswith(".png"):
        image = indexed(image)
        image.save(buffer, "PNG", optimize=False, compress_level=6)
    elif name.endswith(".jpg"):
        image.convert("RGB").save(buffer, "JPEG", quality=88, subsampling=0)
    else:
        raise ValueError(f"artifact {name!r}: the name must end with .png, .jpg or .npy")
    return buffer.getvalue()


def indexed(image: Any) -> Any:
    """A picture of at most 256 colours with a palette: the same pixels in about a third of the bytes."""
    if image.mode != "RGB" or image.getcolors(256) is None:
        return image
    from PIL import Image

    colours = sorted(colour for _, colour in image.getcolors(256))
    codes = np.asarray(image).astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    known = np.array([(r << 16) | (g << 8) | b for r, g, b in colours], dtype=np.uint32)
    flat = Image.fromarray(np.searchsorted(known, codes).astype(np.uint8))
    flat.putpalette([part for colour in colours for part in colour])
    return flat


def artifact(folder: Path, probe: str, file: str) -> Path:
    """The path of a section's artifact; a name that leaves the artifacts folder is refused."""
    root = folder / "artifacts"
    path = root / probe / file
    if ".." in Path(probe).parts or ".." in Path(file).parts or Path(file).is_absolute():
        raise StoreError(f"artifact {probe}/{file}: expected a name within artifacts/; the audit was altered, run it again")
    return path


def write_artifacts(folder: Path, probe: str, artifacts: Mapping[str, Array]) -> dict[str, str]:
    """Write a section's artifacts; returns path within the folder -> sha256."""
    digests = {}
    for name, array in sorted(artifacts.items()):
        data = encode(name, array)
        path = artifact(folder, probe, name)
        write_bytes(path, data)
        digests[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return digests


def check_small(value: Json, where: str) -> None:
    """Raise ValueError where a list in `value` holds more than MOST_NUMBERS entries."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_small(item, f"{where}.{key}")
    elif isinstance(value, list):
        if len(value) > MOST_NUMBERS:
            raise ValueError(
                f"{where} has {len(value)} entries; at most {MOST_NUMBERS} go into audit.json, the rest is an artifact"
            )
        for item in value:
            check_small(item, where)


def write_columns(folder: Path, columns: Mapping[str, Array]) -> dict[str, str]:
    """predictions.parquet, one row a sample; returns its path -> sha256."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.table({name: pa.array(np.asarray(column)) for name, column in columns.items()})
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    write_bytes(folder / "predictions.parquet", data)
    return {"predictions.parquet": hashlib.sha256(data).hexdigest()}


ROWS_AT_ONCE = 16_384
"""Rows of features.parquet that are turned and written at a time."""


def write_features(folder: Path, keys: Array, features: Array) -> dict[str, str]:
    """features.parquet: `key` as in predictions.parquet, `features` (D,) float32; returns its path -> sha256."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "features.parquet"
    schema = pa.schema([("key", pa.string()), ("features", pa.list_(pa.float32(), features.shape[1]))])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer:
                for begin in range(0, len(features), ROWS_AT_ONCE):
                    part = np.ascontiguousarray(features[begin : begin + ROWS_AT_ONCE], dtype=np.float32)
                    flat = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), part.shape[1])
                    named = pa.array(keys[begin : begin + ROWS_AT_ONCE].tolist(), pa.string())
                    writer.write_table(pa.table([named, flat], schema=schema))
            file.flush()
            os.fsync(file.fileno())
        with path.open("rb") as file:
            return {path.name: hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}; free space, or leave out --keep-features") from error


def read_columns(folder: Path) -> dict[str, Array]:
    """Column -> (N,) of predictions.parquet; empty where the audit has none."""
    path = folder / "predictions.parquet"
    if not path.exists():
        return {}
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except Exception as error:  # pyarrow raises many types; each means the same to the reader
        raise StoreError(f"cannot read {path}: {error}; run the audit again") from error
    return {name: as_array(table.column(name)) for name in table.column_names}


def as_array(column: Any) -> Array:
    """(N,) of a pyarrow column: numbers as they are, all else as objects. Its own to_numpy would load pandas: 0.2 s."""
    from pyarrow import types

    if column.null_count == 0 and (types.is_integer(column.type) or types.is_floating(column.type)):
        parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else np.array(column.to_pylist(), dtype=float)
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def write_audit(folder: Path, record: AuditRecord) -> None:
    """audit.json, last of the audit's files: a folder without it is no audit."""
    data = plain(record)
    for probe, section in data["sections"].items():
        check_small(section["figures"], f"sections.{probe}.figures")
    write_json(folder / "audit.json", data)


def read_json(path: Path) -> Json:
    """A JSON file of an audit, or a StoreError that says what is wrong with it."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(
            f"expected an audit folder with {path.name}; {path.parent} has none; give the folder that `auditor run --out` wrote"
        ) from error
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}; run the audit again") from error


def read_audit(folder: Path) -> AuditRecord:
    """The audit in a folder.

    Raises StoreError where there is none, where it is damaged, or where it is newer than this program.
    """
    data = read_json(folder / "audit.json")
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise StoreError(f"{folder / 'audit.json'} has no schema_version; it is not an audit")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{folder} has schema_version {version}; this auditor reads up to {SCHEMA_VERSION}; install a newer auditor"
        )
    try:
        return record_from(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder / 'audit.json'} is damaged ({error!r}); run the audit again") from error


def record_from(data: Mapping[str, Json]) -> AuditRecord:
    """The record in parsed JSON."""
    catalogue = {probe: tuple(Measure(**m) for m in measures) for probe, measures in data["catalogue"].items()}
    sections = {probe: section_from(section) for probe, section in data["sections"].items()}
    return AuditRecord(**{**data, "catalogue": catalogue, "sections": sections})


def section_from(data: Mapping[str, Json]) -> Section:
    """A section in parsed JSON."""
    values = {
        name: Value(**{**value, "columns": tuple(value["columns"]), "flags": tuple(value["flags"])})
        for name, value in data["values"].items()
    }
    return Section(
        **{
            **data,
            "values": values,
            "figures": tuple(Figure(**figure) for figure in data["figures"]),
            "stamps": tuple(Stamp(**stamp) for stamp in data["stamps"]),
            "notes": tuple(data["notes"]),
            "cites": tuple(data["cites"]),
            "only_shown": tuple(data.get("only_shown", ())),
            "about": About(**data["about"]),
        }
    )


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """gate.json."""
    write_json(folder / "gate.json", verdict)


def read_verdict(folder: Path) -> Verdict | None:
    """The verdict in a folder, None where it was not judged."""
    if not (folder / "gate.json").exists():
        return None
    data = read_json(folder / "gate.json")
    try:
        return Verdict(
            **{**data, "outcomes": tuple(map(outcome_from, data["outcomes"])), "waivers": tuple(data.get("waivers", ()))}
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder / 'gate.json'} is damaged ({error!r}); run `auditor check {folder} --write`") from error


def outcome_from(data: Mapping[str, Json]) -> Outcome:
    """An outcome in parsed JSON."""
    return Outcome(**{**data, "samples": tuple(data["samples"]), "names": tuple(data.get("names", ()))})


def require_writable(folder: Path) -> None:
    """Make the folder and try a write in it, so that an unwritable --out is told before the work."""
    probe = folder / f".writable.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder}: {error.strerror or error}; give a folder you may write to with --out"
        ) from error
