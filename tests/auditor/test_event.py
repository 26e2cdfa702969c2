import numpy as np
import pytest

from auditor.event import Event, margins
from indexes.errors import InputError


def test_an_event_is_beyond_either_limit_at_the_end_or_ever():
    ratio, diversity = np.log([[1, 3, 1.5], [1, 1, 1]]), np.log([[1, 1, 1], [1, 0.9, 0.7]])
    at, ever = (margins(ratio, diversity, Event(when=when)) > 0 for when in ("at", "ever"))
    assert at.tolist() == [[False, False], [False, True]]
    assert ever.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("limits", [{"frechet_ratio": 0.9}, {"diversity_ratio": 1.2}, {"when": "later"}])
def test_events_that_mean_nothing_are_refused(limits):
    with pytest.raises(InputError, match="expected a frechet_ratio above 1"):
        Event(**limits)
