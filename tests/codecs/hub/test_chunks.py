"""Windows: how far convolutions see, and that each frame is kept once with all that it needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omnicodec.codecs.hub.chunks import Reach, decoder_reach, encoder_reach, even, span, windows

torch = pytest.importorskip("torch")

LENGTH = 240

REACHES = st.builds(Reach, st.integers(0, 9), st.integers(0, 9))


@st.composite
def convolutions(draw: st.DrawFn) -> Any:
    """Return a stack in which every weight counts, so that nothing cancels."""
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        stride = draw(st.integers(1, 3))
        if draw(st.booleans()):
            kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
            kind = torch.nn.Conv1d
        else:  # shorter kernels would leave gaps
            kernel, dilation = draw(st.integers(stride, 2 * stride + 1)), 1
            kind = torch.nn.ConvTranspose1d
        padding = draw(st.integers(0, kernel // 2))
        layers.append(kind(1, 1, kernel, stride, padding, dilation=dilation, bias=False))
    network = torch.nn.Sequential(*layers).double()
    for layer in network:
        layer.weight.data.uniform_(0.5, 1)
    return network


def used(network: Any, first: int, last: int) -> tuple[int, int]:
    """Return the first and the last input that changes outputs `first` to `last`."""
    sound = torch.zeros(1, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    network(sound)[..., first : last + 1].sum().backward()
    found = sound.grad[0, 0].nonzero()
    return int(found.min()), int(found.max())


@settings(max_examples=60, deadline=None)
@given(network=convolutions(), wide=st.integers(0, 7))
def test_span_is_just_what_outputs_depend_on(network: Any, wide: int) -> None:
    first = network(torch.zeros(1, 1, LENGTH, dtype=torch.float64)).shape[-1] // 2
    found = span(network, first, first + wide)
    assume(found[0] >= 0 and found[1] < LENGTH)
    assert used(network, first, first + wide) == found


def test_reach_is_counted_in_frames() -> None:
    down = torch.nn.Sequential(
        torch.nn.Conv1d(1, 1, 7, padding=3), torch.nn.Conv1d(1, 1, 8, stride=4, padding=2)
    )
    assert span(down, 0, 0) == (-5, 8)
    assert encoder_reach(down, 4) == Reach(2, 2)
    up = torch.nn.ConvTranspose1d(1, 1, 8, stride=4, padding=2)
    assert decoder_reach(up, 4) == Reach(1, 1)
    alone = torch.nn.Conv1d(1, 1, 4, stride=4)
    assert encoder_reach(alone, 4) == Reach(0, 0)


@given(
    frames=st.integers(0, 400),
    kept=st.integers(1, 50),
    reach=REACHES,
)
def test_windows_keep_each_frame_once_with_its_surroundings(
    frames: int, kept: int, reach: Reach
) -> None:
    length = kept + reach.left + reach.right
    found = list(windows(frames, length, reach))
    assert [i for w in found for i in range(w.first, w.last)] == list(range(frames))
    for w in found:
        assert w.stop - w.start == min(length, frames)
        assert 0 <= w.start <= max(0, w.first - reach.left)
        assert min(frames, w.last + reach.right) <= w.stop <= frames


@given(
    frames=st.integers(1, 400),
    kept=st.integers(1, 50),
    reach=REACHES,
)
def test_even_windows_are_as_few_and_no_longer_than_need_be(
    frames: int, kept: int, reach: Reach
) -> None:
    most = kept + reach.left + reach.right
    count = len(list(windows(frames, most, reach)))
    length = even(frames, most, reach)
    assert length <= most
    assert len(list(windows(frames, length, reach))) == count
    shorter = length - 1
    if count > 1 and shorter > reach.left + reach.right:
        assert len(list(windows(frames, shorter, reach))) > count
