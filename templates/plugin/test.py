from pathlib import Path

import pytest
from auditor_NOUN.NOUN import CLASS

from auditor import testing


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract_of_a_probe(check, tmp_path: Path) -> None:
    check(CLASS, tmp_path)
