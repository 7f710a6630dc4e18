"""Classes of the pauses between events."""

import numpy as np

from omnisage.batches.pauses import NUM_PAUSES, pause_classes


def test_a_class_is_the_number_of_bits_of_the_pause() -> None:
    pauses = [0, 1, 2, 3, 4, 86_400, 2**31 - 1, 2**40]
    times = np.concatenate([[0], np.cumsum(pauses)]) + 890_000_000
    found = pause_classes(times[None])[0].tolist()
    assert found == [0, *(min(1 + pause.bit_length(), NUM_PAUSES - 1) for pause in pauses)]


def test_times_that_fall_and_rows_without_events_are_no_problem() -> None:
    assert pause_classes(np.array([[7, 3]])).tolist() == [[0, 1]]
    assert pause_classes(np.zeros((2, 0), np.int64)).shape == (2, 0)
