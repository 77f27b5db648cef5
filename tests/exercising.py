"""What the tests of exercises share: what is said of a wrong answer, and answers of every odd kind."""

import pytest
from hypothesis import strategies as st

from lessonkit.lab.task import Again

ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.lists(st.floats() | st.none() | st.text(max_size=2), max_size=4)
    | st.dictionaries(st.integers() | st.text(max_size=2), st.floats() | st.none(), max_size=3)
)


def again(check, answer, about) -> str:
    "What is said of an answer that is not right."
    with pytest.raises(Again) as e:
        check(answer, about)
    return str(e.value)
