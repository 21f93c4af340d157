"""A baseline on disk: one file with the figures of an accepted audit and what its model said of every image.

It is a Parquet file: the columns image by image, the rest as JSON in its metadata. Below 5 MB at 40,000 images, so it can stand
in git; it can as well be an artifact of a build, read from a URL. No torch.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from auditor.errors import StoreError
from auditor.store import as_array, dumps, plain, read_audit, read_columns, read_verdict, write_bytes
from auditor.types import Array, AuditRecord, Baseline, Json, Value

META = b"auditor.baseline"
VERSION = 1
MOST_BYTES, SECONDS = 64 << 20, 30
"""What is read from a URL at most, and for how long one waits."""
ALWAYS = ("key", "name", "label", "predicted", "confidence")
ACCEPTED = ("pass", "warn")


def baseline_of(record: AuditRecord, columns: Mapping[str, Array], *, made: str) -> Baseline:
    """An audit as a baseline: its figures, and the columns that they rest on."""
    values = {f"{probe}.{key}": value for probe, section in record.sections.items() for key, value in section.values.items()}
    resting = {column for value in values.values() for column in value.columns}
    model = record.provenance.get("model")
    about = model if isinstance(model, Mapping) else {}
    names = record.dataset.get("names") or about.get("classes") or ()
    return Baseline(
        name=record.name,
        made=made,
        model={
            "source": about.get("source"),
            "digest": about.get("digest"),
            "task": about.get("task"),
            "outputs": about.get("outputs"),
            "classes": list(names),
            "seed": record.plan.get("seed"),
            "dataset": record.provenance.get("dataset_digest"),
        },
        revisions={f"{probe}.{m.name}": m.revision for probe, measures in record.catalogue.items() for m in measures},
        parameters={probe: s.parameters for probe, s in record.sections.items() if s.status == "done"},
        values=values,
        columns={name: column for name, column in columns.items() if name in ALWAYS or name in resting - {"correct"}},
    )


def accepted(folder: Path, *, today: date) -> Baseline:
    """The baseline that the audit in a folder makes. Raises StoreError where it did not pass its gate."""
    verdict = read_verdict(folder)
    if verdict is None or verdict.verdict not in ACCEPTED:
        found = "was not judged" if verdict is None or verdict.verdict == "not_gated" else f"ended as {verdict.verdict}"
        raise StoreError(
            f"a baseline is an audit that passed its gate, and {folder} {found}; judge it: auditor check {folder} --write"
        )
    return baseline_of(read_audit(folder), read_columns(folder), made=today.isoformat())


def after(baseline: Baseline, before: Baseline | None) -> Baseline:
    """The baseline with what it knows of the first of all: that of the one it replaces, or that one itself."""
    from dataclasses import replace

    if before is None:
        return baseline
    values = {id: value.value for id, value in before.values.items()}
    return replace(baseline, first=before.first or {"name": before.name, "made": before.made, "values": values})


def encoded(baseline: Baseline) -> bytes:
    """The file's bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: packed(name, column) for name, column in baseline.columns.items()}
    about = {
        "version": VERSION,
        "name": baseline.name,
        "made": baseline.made,
        "model": baseline.model,
        "revisions": baseline.revisions,
        "parameters": baseline.parameters,
        "values": baseline.values,
        "first": baseline.first,
    }
    table = pa.table(arrays).replace_schema_metadata({META: dumps(about)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=9, use_dictionary=False)
    return buffer.getvalue()


def packed(name: str, column: Array) -> Json:
    """A column as small as it goes: keys as their bytes, whole numbers in 32 bits, others as float32."""
    import pyarrow as pa

    if name == "key":
        parts = [str(key).partition(":") for key in column]
        return pa.array([bytes.fromhex(digest) + int(number or 0).to_bytes(4, "big") for digest, _, number in parts], pa.binary())
    if column.dtype.kind in "iub":
        return pa.array(column.astype(np.int32))
    return pa.array(column.astype(np.float32)) if column.dtype.kind == "f" else pa.array([str(entry) for entry in column])


def write_baseline(path: Path, baseline: Baseline) -> int:
    """Write the file; returns its size in bytes."""
    data = encoded(baseline)
    write_bytes(path, data)
    return len(data)


def read_baseline(source: str | Path) -> Baseline | None:
    """The baseline in a file or at a URL; None where a file is not there. `#sha256=HEX` behind either pins its content.

    Raises StoreError where it cannot be read, is of a newer program, or is another content than the pinned one.
    """
    place, _, pin = str(source).partition("#sha256=")
    if urlsplit(place).scheme in ("http", "https"):
        data = fetched(place)
    elif not Path(place).exists():
        return None
    else:
        try:
            data = Path(place).read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read the baseline {place}: {error.strerror or error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if pin and digest != pin.lower():
        raise StoreError(f"the baseline {place} has the sha256 {digest}, and {pin} was asked for; get the right file")
    return decoded(data, place, digest)


def fetched(url: str) -> bytes:
    """What stands at a URL."""
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(url), timeout=SECONDS) as answer:  # noqa: S310 - http and https alone come here
            data = bytes(answer.read(MOST_BYTES + 1))
    except OSError as error:
        raise StoreError(f"cannot read the baseline {url}: {error}") from error
    if len(data) > MOST_BYTES:
        raise StoreError(
            f"the baseline {url} is larger than {MOST_BYTES >> 20} MB; expected a file that `auditor baseline set` wrote"
        )
    return data


def decoded(data: bytes, place: str, digest: str) -> Baseline:
    """The baseline in a file's bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        about = json.loads((table.schema.metadata or {})[META])
        if about["version"] > VERSION:
            raise StoreError(f"the baseline {place} is of a newer auditor (version {about['version']}); install that")
        columns = {name: as_array(table.column(name)) for name in table.column_names}
        columns["key"] = np.array([f"{key[:-4].hex()}:{int.from_bytes(key[-4:], 'big')}" for key in columns["key"]], dtype=object)
        values = {id: value_from(value) for id, value in about["values"].items()}
        fields = {name: about[name] for name in ("name", "made", "model", "revisions", "parameters", "first")}
        return Baseline(**fields, values=values, columns=columns, source=place, digest=digest)
    except StoreError:
        raise
    except Exception as error:  # pyarrow raises many types; each means the same to the reader
        raise StoreError(f"{place} is no baseline ({error!r}); expected a file that `auditor baseline set` wrote") from error


def value_from(value: Mapping[str, Json]) -> Value:
    """A figure in parsed JSON."""
    return Value(**{**value, "columns": tuple(value["columns"]), "flags": tuple(value["flags"])})


def shown(baseline: Baseline, ids: Iterable[str] = ()) -> list[tuple[str, float | None, float | None]]:
    """(id, figure in the first baseline, figure in this one) of the figures without a scope, or of `ids`."""
    first = baseline.first.get("values", {}) if baseline.first else {}
    named = list(ids) or [id for id in baseline.values if id.count(".") == 1]
    return [(id, plain(first.get(id)), baseline.values[id].value) for id in named if id in baseline.values]
