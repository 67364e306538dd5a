"""The compiled pass of the model of latents, against the same in torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from omnicodec.models.inr import arm as module
from omnicodec.models.inr.arm import Arms, around, plain_bits, plane_bits
from omnicodec.models.inr.arm_kernels import LEAST, NEIGHBOURS, RATIO
from omnicodec.models.inr.pyramid import CHANNELS, PLANES, shapes, sources


def bits_of(layers: tuple[Tensor, ...], y: Tensor, beyond: Tensor) -> Tensor:
    """Return what a plane's model should say, latent by latent."""
    first, first_bias, second, second_bias, last, last_bias = layers
    wide = F.pad(y, (2, 2, 2, 0))
    bits = torch.zeros((), dtype=torch.float64)
    for item in range(y.shape[0]):
        for r in range(y.shape[1]):
            for c in range(y.shape[2]):
                known = [wide[item, r + 2 + a, c + 2 + b] for a, b in NEIGHBOURS.tolist()]
                x = torch.cat([torch.stack(known), beyond[item, :, r, c]])
                hidden = torch.relu(second @ torch.relu(first @ x + first_bias) + second_bias)
                mean, which = last @ torch.cat([hidden, x]) + last_bias
                laplace = torch.distributions.Laplace(mean, LEAST * RATIO ** which.clamp(0, 39))
                value = y[item, r, c]
                share = laplace.cdf(value + 0.5) - laplace.cdf(value - 0.5)
                bits = bits - torch.log2(share.double())
    return bits


def networks() -> list[Arms]:
    torch.manual_seed(0)
    arms = [Arms(count) for count in CHANNELS]
    with torch.no_grad():
        for some in arms:
            some.first_rate.normal_()
            some.last_bias[:, 1] = 14.0
    return arms


def latents(batch: int, height: int, width: int) -> list[Tensor]:
    torch.manual_seed(height)
    return [(torch.randn(batch, *shape) * 1.5).requires_grad_() for shape in shapes(height, width)]


def plain(arms: list[Arms], scales: list[Tensor], rate: float) -> Tensor:
    layers = [own for some in arms for own in some.layers(rate)]
    planes = [scales[scale][:, channel] for scale, channel in PLANES]
    return torch.stack(
        [plain_bits(*each) for each in zip(planes, around(scales), layers, strict=True)]
    )


def test_both_ways_are_the_definition() -> None:
    arms, scales = networks(), latents(2, 32, 64)
    found, other = plane_bits(arms, scales, 0.7), plain(arms, scales, 0.7)
    layers = [own for some in arms for own in some.layers(0.7)]
    for k in (0, 2, 5, 11, 20):
        y = scales[PLANES[k].scale][:, PLANES[k].channel]
        expected = bits_of(layers[k], y, around(scales)[k]).item()
        assert math.isclose(found[k].item(), expected, rel_tol=1e-4)
        assert math.isclose(other[k].item(), expected, rel_tol=1e-4)


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 160), (2, 64, 32), (1, 320, 480)])
def test_both_ways_have_the_same_gradients(
    batch: int, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    arms, scales = networks(), latents(batch, height, width)
    inputs = [*scales, *(p for some in arms for p in some.parameters())]
    weights = torch.rand(len(PLANES)) + 0.5
    ways = (plane_bits, plain)
    sums = [(way(arms, scales, 0.7) * weights).sum() for way in ways]
    assert math.isclose(sums[0].item(), sums[1].item(), rel_tol=1e-4)
    ours, theirs = (torch.autograd.grad(total, inputs) for total in sums)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() <= 2e-3 * other.abs().max()


def test_the_same_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    arms, scales = networks(), latents(1, 320, 480)
    found = []
    for threads in (1, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        bits = plane_bits(arms, scales, 0.0)
        found.append([bits, *torch.autograd.grad(bits.sum(), scales)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_classes_beyond_the_last_lead_back() -> None:
    arms, scales = networks(), [torch.zeros(1, *shape) for shape in shapes(32, 32)]
    with torch.no_grad():
        for some in arms:
            some.last.zero_()
            some.last_bias.copy_(torch.tensor([0.0, 60.0]))
    (gradient,) = torch.autograd.grad(plane_bits(arms, scales, 0.0).sum(), [arms[3].last_bias])
    assert (gradient[:, 1] > 0).all(), "a smaller scale would cost less"


def test_contexts_from_other_planes() -> None:
    scales = [torch.zeros(1, *shape) for shape in shapes(64, 64)]
    scales[4] = torch.arange(9 * 256.0).view(1, 9, 16, 16) - 1000
    found = dict(zip(PLANES, around(scales), strict=True))
    for plane, planes in found.items():
        for k, source in enumerate(sources(plane)):
            seen = planes[0, k]
            if source is None or source.scale != 4:
                assert seen.abs().sum() == 0
                continue
            y = scales[4][0, source.channel]
            at = (3, 5) if plane.scale == 4 else (7, 11)
            size = y.abs()[2:5, 4:7].sum() / 8
            assert math.isclose(seen[at].item(), (size if k else y[3, 5]).item(), rel_tol=1e-5)


def test_a_plane_sees_what_was_coded_before() -> None:
    for k, plane in enumerate(PLANES):
        for source in sources(plane):
            if source is not None:
                assert PLANES.index(source) < k
                assert plane.scale - source.scale in (0, 1)
                if plane.scale != source.scale:
                    assert source.scale > 0, "twice its size"


def test_bands_cover_a_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert module._bands(1, 512, 768) == [(0, 0, 170), (0, 170, 171), (0, 341, 171)]
    assert module._bands(2, 512, 768) == [(0, 0, 512), (1, 0, 512)]
    assert module._bands(1, 8, 8) == [(0, 0, 8)]
