"""Time as sines: exact for times of today, as PinnerFormer's formula has it, and never later than the event."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from omnisage.batches.description import SequenceDescription
from omnisage.model.config import ModelConfig
from omnisage.model.sequence import SequenceModel
from omnisage.model.times import DATE_PERIODS_S, PAUSE_PERIODS_S, TimeFeatures, sines

NOW = 1_790_000_001  # 2026


def test_phases_of_unix_seconds_are_exact_and_in_float32_they_would_be_noise() -> None:
    random = np.random.default_rng(0)
    times = torch.from_numpy(NOW + random.integers(0, 10**7, size=(1, 200)))
    periods = torch.tensor([900, 3600, 86400])
    found = sines(times, periods, torch.float32)[0]
    errors, naive_errors = [], []
    for row, time in enumerate(times[0].tolist()):
        for column, period in enumerate(periods.tolist()):
            angle = 2 * math.pi * float(Fraction(time, period) % 1)
            errors.append(found[row, column].item() - math.sin(angle))
            errors.append(found[row, 3 + column].item() - math.cos(angle))
            naive = torch.tensor(time, dtype=torch.float32) / period * 2 * math.pi
            naive_errors.append(naive.sin().item() - math.sin(angle))
    assert max(map(abs, errors)) < 1e-6
    assert max(map(abs, naive_errors)) > 0.5


def test_periods_are_those_of_the_paper_and_octaves() -> None:
    assert [p / 3600 for p in DATE_PERIODS_S] == [0.25, 0.5, 0.75, 1, 2, 4, 8, 16, 24, 168, 672, 8760]
    assert (PAUSE_PERIODS_S[0], PAUSE_PERIODS_S[-1]) == (2, 28 * 86400)
    ratios = np.array(PAUSE_PERIODS_S[1:]) / np.array(PAUSE_PERIODS_S[:-1])
    np.testing.assert_allclose(ratios, 2.01, atol=0.07)


def test_features_are_those_of_a_loop_over_events() -> None:
    torch.manual_seed(0)
    module = TimeFeatures(5).double()
    times = [[NOW, NOW, NOW + 7, NOW + 90_000, NOW + 90_001], [0, 3, 4, 4, -1]]  # the last is what pads a row
    found = module(torch.tensor(times))
    for row, of_row in enumerate(times):
        for i, time in enumerate(of_row):
            angles = [2 * math.pi * (time % period) / period for period in DATE_PERIODS_S]
            features = [*map(math.sin, angles), *map(math.cos, angles)]
            if i == 0:
                features += [0.0] * (2 * len(PAUSE_PERIODS_S) + 1)
            else:
                pause = max(time - of_row[i - 1], 0)
                angles = [2 * math.pi * (pause % period) / period for period in PAUSE_PERIODS_S]
                log_pause = math.log1p(pause) / math.log1p(28 * 86400)
                features += [*map(math.sin, angles), *map(math.cos, angles), log_pause]
            expected = module.project(torch.tensor(features, dtype=torch.float64))
            torch.testing.assert_close(found[row, i], expected)


def make_model(time: str) -> SequenceModel:
    torch.manual_seed(0)
    sequence = {"num_layers": 2, "num_heads": 2, "max_length": 9, "dropout": 0.0, "time": time}
    config = ModelConfig(dim=8, embedding_dim=4, num_heads=2, sequence=sequence)
    return SequenceModel(SequenceDescription(num_actions=3, num_surfaces=4), config)


@pytest.mark.parametrize("time", ["pauses", "fourier", "both"])
def test_later_times_and_surfaces_change_no_bit_of_the_past(time: str) -> None:
    model = make_model(time)
    events, actions, surfaces = torch.randn(3, 9, 4), torch.randint(3, (3, 9)), torch.randint(4, (3, 9))
    pauses, times = torch.randint(34, (3, 9)), NOW + torch.randint(10**6, (3, 9)).cumsum(1)
    before = model(events, actions, pauses, surfaces_BL=surfaces, times_BL=times)
    for known in range(9):
        changed_surfaces, changed_times = surfaces.clone(), times.clone()
        changed_surfaces[:, known:] = (changed_surfaces[:, known:] + 1) % 4
        changed_times[:, known:] += torch.randint(1, 10**6, (3, 9 - known)).cumsum(1)
        after = model(events, actions, pauses, surfaces_BL=changed_surfaces, times_BL=changed_times)
        assert torch.equal(after[:, : known + 1], before[:, : known + 1])
        assert not torch.allclose(after[:, known + 1 :], before[:, known + 1 :])


def test_each_choice_reads_what_it_says() -> None:
    events, actions, surfaces = torch.randn(1, 4, 4), torch.zeros(1, 4).long(), torch.zeros(1, 4).long()
    pauses, times = torch.tensor([[0, 3, 5, 2]]), torch.tensor([[NOW, NOW + 3, NOW + 30, NOW + 31]])
    for time, reads in (("pauses", (True, False)), ("fourier", (False, True)), ("both", (True, True))):
        model = make_model(time).eval()
        last = model(events, actions, pauses, surfaces_BL=surfaces, times_BL=times)[0, -1]
        other_pauses = model(events, actions, pauses + 1, surfaces_BL=surfaces, times_BL=times)[0, -1]
        shifted = model(events, actions, pauses, surfaces_BL=surfaces, times_BL=times + 5000)[0, -1]
        slower = model(events, actions, pauses, surfaces_BL=surfaces, times_BL=NOW + 2 * (times - NOW))[0, -1]
        found = [not torch.equal(last, other) for other in (other_pauses, shifted, slower)]
        assert found == [reads[0], reads[1], reads[1]]


def test_a_user_without_events_has_a_vector_too() -> None:
    none = torch.zeros(2, 0, dtype=torch.int64)
    users = make_model("both").eval()(torch.randn(2, 0, 4), none, none, surfaces_BL=none, times_BL=none)
    torch.testing.assert_close(users.norm(dim=-1), torch.ones(2, 1))


def test_what_is_added_by_times_starts_as_small_as_other_labels() -> None:
    torch.manual_seed(0)
    times = NOW + torch.randint(10**6, (50, 20)).cumsum(1)
    assert TimeFeatures(64)(times).std().item() == pytest.approx(0.1, rel=0.5)
