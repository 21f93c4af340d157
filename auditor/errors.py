"""Every error that `auditor` raises on purpose.

    AuditError                    70  a fault of our own (never 1, which Python gives by itself)
    ├── UsageError                 2  what was asked for cannot be done as it was asked
    │   ├── ConfigError               audit.toml or a command-line option
    │   ├── PolicyError               a rule of the gate
    │   ├── TargetError               the model could not be built
    │   │   ├── WeightsError          its weights were refused or do not fit
    │   │   └── ContractError         its outputs are not what the task needs
    │   ├── DataError                 the data set could not be read
    │   │   └── LabelError            labels and logits do not meet
    │   ├── StoreError                an audit folder could not be read or written
    │   └── EngineError               the workers of --engine could not be had, or cannot make the model
    ├── WorkerError               70  workers died over one unit of work, again and again
    └── IncompleteError            3  the audit lacks what a rule needs

A message is one line: what was expected, what was got, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class AuditError(Exception):
    """Root of the tree; `exit_code` is what the command ends with."""

    exit_code: ClassVar[int] = 70


class UsageError(AuditError):
    """The command, configuration, model or data cannot be used as given."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """audit.toml or an option is wrong."""


class PolicyError(UsageError):
    """A rule of the gate is wrong, or matches nothing."""


class TargetError(UsageError):
    """The model could not be built."""


class WeightsError(TargetError):
    """The weights file was refused, or does not fit the model."""


class ContractError(TargetError):
    """The model's outputs are not what its task needs."""


class DataError(UsageError):
    """The data set could not be read."""


class LabelError(DataError):
    """The labels of the data do not meet the classes of the model."""


class StoreError(UsageError):
    """An audit folder could not be read or written."""


class EngineError(UsageError):
    """The workers of --engine could not be had, or cannot make the model."""


class WorkerError(AuditError):
    """Workers died over one unit of work, again and again."""


class IncompleteError(AuditError):
    """The audit lacks what a rule needs."""

    exit_code: ClassVar[int] = 3
