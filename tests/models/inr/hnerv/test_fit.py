"""A short fit: it learns a clip, goes on from a state, and keeps few bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnicodec.models.inr.hnerv import HnervFit, layout, render
from omnicodec.models.inr.hnerv.exact import render_shape
from omnicodec.models.inr.hnerv.fit import BATCH, MOST_LOSS
from omnicodec.models.inr.hnerv.integers import row_size
from omnicodec.models.inr.hnerv.shape import shape_for


def clip(frames: int, height: int, width: int) -> np.ndarray:
    """Return a bright disc that crosses a slope of colours, `(T, H, W, 3)`."""
    y, x = np.mgrid[:height, :width]
    ground = np.stack([x / width, y / height, 1 - x / width], -1) * 120
    out = np.empty((frames, height, width, 3), np.uint8)
    for k in range(frames):
        away = np.hypot(y - height / 2, x - width * (k + 0.5) / frames)
        disc = np.clip(height / 4 - away, 0, 1)[..., None]
        out[k] = ground * (1 - disc) + disc * np.array([250, 240, 200])
    return out


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.square((one / 255.0) - (other / 255.0)).mean()))


def extent_of(frames: np.ndarray) -> dict[str, int]:
    return dict(zip(("frames", "height", "width"), frames.shape[:3], strict=True))


def test_it_learns_a_clip() -> None:
    frames = clip(6, 30, 46)
    shape = shape_for(*frames.shape[:3], 40_000)
    fit = HnervFit(frames, 0, 160, shape=shape)
    for _ in range(4):
        fit.step()
    fit.look()
    first = fit.psnr
    while fit.done < fit.steps:
        fit.step()
    fit.look()
    assert fit.psnr > first + 6
    looked = fit.bits, fit.psnr
    fitted = fit.finish()
    assert (fit.bits, fit.psnr) == (fitted.bits, fitted.psnr)
    drawn = render_shape(fitted.values, shape, range(6))
    mean = np.broadcast_to(frames.mean(0).round(), frames.shape)
    assert psnr(drawn, frames) > psnr(mean, frames) + 3
    # Estimates, the floats' result and that of integers agree.
    assert psnr(drawn, frames) == pytest.approx(fitted.psnr, abs=0.02)
    assert looked[1] == pytest.approx(fitted.psnr, abs=1.0)
    assert fitted.bits <= looked[0] * 1.01
    preview = fit.preview(3)
    assert preview.shape == frames.shape[1:]
    assert psnr(preview, frames[3]) == pytest.approx(psnr(drawn[3], frames[3]), abs=1.0)


def test_a_state_goes_on_as_if_nothing_had_happened() -> None:
    frames = clip(5, 40, 60)

    def until(fit: HnervFit, done: int) -> HnervFit:
        while fit.done < done:
            fit.step()
        fit.look()
        return fit

    one = until(HnervFit(frames, 80, 12), 5)
    state = {name: array.copy() for name, array in one.state().items()}
    until(one, 12)
    other = HnervFit(frames, 80, 12)
    other.restore(state)
    assert other.done == 5
    until(other, 12)
    assert (one.bits, one.psnr) == (other.bits, other.psnr)
    np.testing.assert_array_equal(one.finish().values, other.finish().values)


def test_a_fit_does_not_touch_the_random_numbers_of_others() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    fit = HnervFit(clip(2, 16, 16), 80, 2)
    fit.step()
    torch.testing.assert_close(torch.rand(4), wanted)


def test_each_epoch_sees_each_frame() -> None:
    frames = clip(5, 16, 24)
    fit = HnervFit(frames, 80, HnervFit.steps_of(5, 4))
    assert fit.steps == 5 * 4 // BATCH
    seen = []
    while fit.done < fit.steps:
        seen += fit._which()
        fit.done += 1
    epochs = [seen[k : k + 5] for k in range(0, 20, 5)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 33, 47), (2, 3, 70), (3, 20, 20)])
def test_any_clip_can_be_fitted(size: tuple[int, int, int]) -> None:
    frames = clip(*size)
    fit = HnervFit(frames, 60, 3)
    for _ in range(3):
        fit.step()
    fit.look()
    fitted = fit.finish()
    assert fitted.values.shape == (row_size(layout(extent_of(frames), 60)),)
    assert np.isfinite([fit.bits, fit.psnr]).all()
    assert render(fitted.values, extent_of(frames), 60, range(size[0])).shape == frames.shape


def test_fewer_bits_only_where_they_are_not_missed() -> None:
    fit = HnervFit(clip(4, 32, 40), 100, 40, shape=shape_for(4, 32, 40, 10_000))
    while fit.done < fit.steps:
        fit.step()
    with torch.inference_mode():
        embeddings = torch.cat([fit._encoder(fit._pixels([k])) for k in range(4)])
        most = fit._fitted(embeddings, 8)
    fitted = fit.finish()
    assert fitted.bits <= most.bits
    assert fitted.psnr >= most.psnr - MOST_LOSS


def test_before_the_first_step_there_is_a_result() -> None:
    frames = clip(2, 20, 30)
    fit = HnervFit(frames, 60, 0)
    fit.look()
    assert fit.psnr == 0
    assert fit.finish().psnr > 0
