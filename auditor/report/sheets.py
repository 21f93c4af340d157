"""Pictures that hold a grid of tiles: one, or one for each of some images."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.report.pictures import Files, Picture
from auditor.report.values import name, text
from auditor.types import Json

WIDTH = 960
"""About how wide a sheet stands, in CSS pixels."""


def held(files: Files, probe: str, file: str) -> Picture:
    """A picture that must be there."""
    picture = files.picture(probe, file)
    if picture is None:
        raise ValueError(f"the picture {file} is missing from the folder")
    return picture


def common(data: Mapping[str, Json], picture: Picture) -> dict[str, Json]:
    """What a sheet and every page of a figure have."""
    high, wide = data["tile"]
    scale = max(1, min(8, round(int(data.get("width") or WIDTH) / max(picture.width, 1))))
    return {
        "tile": (high, wide),
        "columns": data["columns"],
        "count": data["count"],
        "labels": [name(label, longest=60) for label in data.get("labels") or ()],
        "scale": data.get("scale", ""),
        "pixelated": bool(data.get("pixelated", min(high, wide) <= 32)),
        "width": picture.width * scale,
        "full": None,
        "legend": None,
    }


def sheet(files: Files, probe: str, data: Mapping[str, Json]) -> dict[str, Json]:
    """The body of a sheet."""
    picture = held(files, probe, data["file"])
    full = files.link(probe, data["full"]) if data.get("full") else None
    return {
        "picture": picture,
        **common(data, picture),
        "full": full,
        "legend": legend(files, probe, data["legend"]) if data.get("legend") else None,
    }


def legend(files: Files, probe: str, data: Mapping[str, Json]) -> dict[str, Json]:
    """The colours of a sheet, from one end to the other."""
    return {"picture": files.picture(probe, data["file"]), **{key: name(data[key]) for key in ("low", "high", "label")}}


def pages(files: Files, probe: str, data: Mapping[str, Json]) -> dict[str, Json]:
    """The body of pages: the image that each sheet is of, and the sheet."""
    found = [
        {
            "picture": held(files, probe, page["file"]),
            "beside": held(files, probe, page["beside"]),
            "label": name(page["label"]),
            "note": text(page.get("note") or "", longest=400),
            "sample": page.get("sample"),
        }
        for page in data["pages"]
    ]
    if not found:
        raise ValueError("it has no page")
    return {"pages": found, **common(data, found[0]["picture"])}
