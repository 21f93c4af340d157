"""auditor: audits a trained image model before it is released.

The public names are resolved on first use (PEP 562), so `import auditor` and `auditor check` load no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.api import attack as attack
    from auditor.api import attribute as attribute
    from auditor.api import run as run
    from auditor.api import visualise as visualise
    from auditor.audit import Audit as Audit
    from auditor.audit import open_audit as open_audit
    from auditor.errors import AuditError as AuditError
    from auditor.methods.guided import Units as Units
    from auditor.preprocess import Preprocess as Preprocess

__version__ = "0.1.0"

_HOMES = {
    "Audit": "auditor.audit",
    "AuditError": "auditor.errors",
    "Preprocess": "auditor.preprocess",
    "Units": "auditor.methods.guided",
    "attack": "auditor.api",
    "attribute": "auditor.api",
    "open_audit": "auditor.audit",
    "run": "auditor.api",
    "visualise": "auditor.api",
}

__all__ = ["Audit", "AuditError", "Preprocess", "Units", "__version__", "attack", "attribute", "open_audit", "run", "visualise"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
