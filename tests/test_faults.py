"The short form of every attack in tests/faults."

import pytest
from faults.__main__ import ATTACKS, attack


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_breaks(name):
    found = attack(name, short=True)
    assert found.tried and not found.broke
