"""The fixture `audit` for pytest: a finished audit, so that a release is held by tests of one's own as well.

    def test_the_release_holds(audit):
        assert audit.check("audit.toml").exit_code == 0

    pytest --audit reports/candidate          # or, in pytest's configuration: audit = "reports/candidate"

Loaded by every pytest where auditor is installed, so it imports nothing until the fixture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from auditor.audit import Audit


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--audit FOLDER`, and the same in pytest's configuration."""
    told = "folder of a finished audit, for the fixture `audit`"
    parser.getgroup("auditor").addoption("--audit", default=None, metavar="FOLDER", help=told)
    parser.addini("audit", told, default="")


@pytest.fixture(scope="session")
def audit(request: pytest.FixtureRequest) -> Audit:
    """The audit that --audit names: `audit["performance"]["top1"].value`, `audit.check("audit.toml")`."""
    folder = request.config.getoption("--audit") or request.config.getini("audit")
    if not folder:
        raise pytest.UsageError(
            "the fixture `audit` expects an audit: give --audit FOLDER, or audit = FOLDER in the configuration"
        )
    from auditor.audit import open_audit

    return open_audit(request.config.rootpath / str(folder))
