"""The native attention against torch's, in values and gradients, and torch's gradients in double precision."""

from dataclasses import fields, replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisage._native import attend as native_attend
from omnisage._native import attend_backward
from omnisage.model.attention import AttentionInput, attend, attend_by_torch

Sizes = tuple[int, int, int, int, int, int]  # anchors, entities, own tokens, slots, heads, width


class Made(NamedTuple):
    """What `attend` takes."""

    tokens_UD: Tensor
    rest: AttentionInput


def make_input(sizes: Sizes, *, share: float = 0.7, has_factors: bool = False) -> Made:
    """Random tokens and scores; what is differentiable requires a gradient."""
    num_anchors, num_entities, num_own, num_slots, num_heads, width = sizes

    def random(*shape: int) -> Tensor:
        return torch.randn(shape).requires_grad_()

    tokens_UD = random(num_entities, width)
    rest = AttentionInput(
        scores_UG=random(num_entities, 2 * num_heads),
        neighbors_BK=torch.randint(num_entities, (num_anchors, num_slots)),
        log_weights_BK=torch.rand(num_anchors, num_slots),
        present_BK=torch.rand(num_anchors, num_slots) < share,
        own_BJD=random(num_anchors, num_own, width),
        own_scores_BJH=random(num_anchors, num_own, num_heads),
        positions_KD=random(num_slots, width),
        position_scores_KH=random(num_slots, num_heads),
        gates_2D=random(2, width),
        factors_BSH=(torch.rand(num_anchors, num_own + num_slots, num_heads) < 0.8) * 1.25 if has_factors else None,
    )
    return Made(tokens_UD, rest)


def detached(rest: AttentionInput) -> AttentionInput:
    """The same numbers without gradients, as inference has them."""
    values = {field.name: getattr(rest, field.name) for field in fields(rest)}
    return AttentionInput(**{name: None if x is None else x.detach() for name, x in values.items()})


def to_double(made: Made) -> Made:
    """The same numbers in double precision."""

    def widen(value: Tensor) -> Tensor:
        return value.detach().double().requires_grad_(value.requires_grad)

    changed = {}
    for field in fields(made.rest):
        value = getattr(made.rest, field.name)
        if value is not None and value.dtype == torch.float32:
            changed[field.name] = widen(value)
    return Made(widen(made.tokens_UD), replace(made.rest, **changed))


def sources_of(made: Made) -> dict[str, Tensor]:
    named = {"tokens_UD": made.tokens_UD} | {f.name: getattr(made.rest, f.name) for f in fields(made.rest)}
    return {name: x for name, x in named.items() if x is not None and x.requires_grad}


def values_and_gradients(made: Made, outputs: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    sources = sources_of(made)
    torch.manual_seed(0)
    loss = sum((output * torch.randn(output.shape)).sum() for output in outputs)
    found = torch.autograd.grad(loss, list(sources.values()))
    return {"reads": outputs[0], "totals": outputs[1]} | dict(zip(sources, found, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 20),
        st.integers(1, 9),
        st.integers(1, 4),
        st.integers(0, 20),
        st.integers(1, 18),
        st.sampled_from([16, 48, 64, 80, 144]),
    ),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    has_factors=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_native_form_equals_torchs_in_values_and_gradients(
    sizes: Sizes, share: float, has_factors: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    made = make_input(sizes, share=share, has_factors=has_factors)
    exact = to_double(made)
    ours, theirs = (values_and_gradients(x, f(*x)) for x, f in ((made, attend), (exact, attend_by_torch)))
    for name, expected in theirs.items():
        torch.testing.assert_close(
            ours[name].double(), expected, rtol=2e-5, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(1, 4),
        st.integers(0, 20),
        st.integers(1, 14),
        st.sampled_from([16, 48, 64, 1040]),
    ),
    seed=st.integers(0, 2**31),
)
def test_tokens_in_bfloat16_are_read_as_if_they_were_widened_first(sizes: Sizes, seed: int) -> None:
    """Bit for bit, in groups of slots of any size; torch's form reads them, too."""
    torch.manual_seed(seed)
    made = make_input(sizes)
    brief_UD, rest = made.tokens_UD.detach().bfloat16(), detached(made.rest)
    reads, totals = attend(brief_UD, rest)
    for found, expected in zip((reads, totals), attend(brief_UD.float(), rest), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for found, expected in zip((reads, totals), attend_by_torch(brief_UD, rest), strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("width", [1040, 4096, 12304])
def test_wide_tokens_are_read_in_several_groups(width: int) -> None:
    """11 tokens at a time, and 3, which are the own ones; the last width is more than a group holds."""
    torch.manual_seed(0)
    made = make_input((5, 7, 3, 20, 5, width), has_factors=True)
    ours, theirs = (values_and_gradients(x, f(*x)) for x, f in ((made, attend), (to_double(made), attend_by_torch)))
    for name, expected in theirs.items():
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(ours[name].double() / scale, expected / scale, rtol=1e-4, atol=1e-5)


def test_gradients_are_not_asked_of_tokens_in_bfloat16() -> None:
    made = make_input((2, 3, 1, 2, 1, 16))
    arrays = [getattr(detached(made.rest), field.name) for field in fields(made.rest)]
    given = [made.tokens_UD.detach().bfloat16().view(torch.uint16), *arrays]
    given = [None if x is None else (x.view(torch.uint8) if x.dtype == torch.bool else x).numpy() for x in given]
    reads, totals, weights = native_attend(tuple(given), num_threads=1)
    with pytest.raises(ValueError, match="tokens must be float32 where gradients are asked for"):
        attend_backward(tuple(given), weights, reads.reshape(1, 2, 16), totals, num_threads=1)


def test_gradients_of_torchs_form_in_double_precision() -> None:
    torch.manual_seed(0)
    made = to_double(make_input((2, 3, 2, 3, 2, 4), has_factors=True))
    sources = sources_of(made)

    def attend_to(tokens_UD: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        return attend(tokens_UD, replace(made.rest, **dict(zip(list(sources)[1:], others, strict=True))))

    assert torch.autograd.gradcheck(attend_to, list(sources.values()))


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    torch.manual_seed(0)
    made = make_input((50, 40, 3, 30, 4, 208), has_factors=True)
    before, found = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            found.append(values_and_gradients(made, attend(*made)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(other[name], value) for name, value in found[0].items() for other in found[1:])


def test_what_the_native_form_cannot_do_is_done_by_torch() -> None:
    torch.manual_seed(0)
    narrow = make_input((3, 4, 1, 2, 2, 12))
    assert attend(*narrow)[0].shape == (2, 3, 12)
    weighted = make_input((3, 4, 1, 2, 2, 16), share=1.0)
    log_weights_BK = weighted.rest.log_weights_BK.requires_grad_()
    assert torch.autograd.grad(attend(*weighted)[0].sum(), log_weights_BK)[0].abs().sum() > 0


@pytest.mark.parametrize(("row", "present"), [(4, True), (-1, True), (4, False)])
def test_a_neighbor_that_is_none_is_refused_where_it_is_present(row: int, present: bool) -> None:
    torch.manual_seed(0)
    made = make_input((3, 4, 1, 2, 2, 16), share=float(present))
    made.rest.neighbors_BK[2, 1] = row
    if not present:
        attend(*made)
        return
    with pytest.raises(IndexError, match=rf"neighbors\[2, 1\] is {row}, but tokens has 4 rows"):
        attend(*made)


def test_wrong_shapes_are_refused_by_name() -> None:
    made = make_input((3, 4, 1, 2, 2, 16))
    arrays = [made.tokens_UD, *(getattr(made.rest, f.name) for f in fields(made.rest))]
    arrays = [
        None if x is None else x.detach().numpy().astype(x.numpy().dtype if not x.requires_grad else "f4")
        for x in arrays
    ]
    arrays[4] = arrays[4].astype("uint8")
    with pytest.raises(ValueError, match="gates has 16 entries; it must have 32"):
        native_attend((*arrays[:9], arrays[9][:1].copy(), None))
