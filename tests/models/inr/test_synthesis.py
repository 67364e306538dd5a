"""The wavelet, the networks around it, and synthesis in integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from omnicodec.models.inr.exact_synthesis import STEP_BITS, ExactSynthesis
from omnicodec.models.inr.image import ImageInr, ImageInrConfig
from omnicodec.models.inr.pyramid import shapes
from omnicodec.models.inr.wavelet import doubling, extended, halving, mirrored


def smooth(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    return torch.stack([torch.sin(x * y), torch.cos(x + y), torch.sin(3 * x)])[None] * 0.4 + 0.5


def test_doubling_undoes_halving() -> None:
    plane = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    bands = F.conv2d(F.pixel_unshuffle(plane, 2), halving(), padding=2)
    back = F.pixel_shuffle(F.conv2d(bands, doubling(), padding=2), 2)
    assert (back - plane)[..., 10:-10, 10:-10].abs().max() < 1e-5
    assert 0.9 < bands.square().mean() / plane.square().mean() < 1.1, "sizes are kept"


@pytest.mark.parametrize("size", [(32, 64), (2, 2), (4, 6)])
def test_a_mirrored_picture_has_no_edges(size: tuple[int, int]) -> None:
    plane = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    wide = mirrored(plane)
    if min(size) > 4:
        assert torch.equal(wide, F.pad(plane, (4, 4, 4, 4), mode="reflect"))
    bands = F.conv2d(F.pixel_unshuffle(wide, 2), halving())
    back = F.conv2d(extended(bands[:, :1], bands[:, 1:]), doubling())
    assert (F.pixel_shuffle(back, 2) - plane).abs().max() < 1e-5


def test_details_of_what_is_flat_or_a_slope_are_nothing() -> None:
    for plane in (torch.ones(64, 64), torch.arange(64.0).repeat(64, 1)):
        bands = F.conv2d(F.pixel_unshuffle(plane[None, None], 2), halving(), padding=2)
        assert bands[0, 1:, 8:-8, 8:-8].abs().max() < 1e-4


def test_untrained_networks_are_the_wavelet() -> None:
    network, pixels = ImageInr(ImageInrConfig()).eval(), smooth(96, 160)
    with torch.no_grad():
        scales = network.analyse(pixels, -1.0)
        assert [tuple(y.shape[1:]) for y in scales] == shapes(96, 160)
        error = network.render([y.round() for y in scales], -1.0) - pixels
    assert error.square().mean().sqrt() < 0.012, "also at the edges"


@pytest.fixture(scope="module")
def random_network() -> ImageInr:
    torch.manual_seed(3)
    network = ImageInr(ImageInrConfig())
    with torch.no_grad():
        for parameter in network.synthesis.parameters():
            parameter += torch.randn_like(parameter) * 0.05
    return network.eval().requires_grad_(False)


def test_integers_are_close_to_the_floats(random_network: ImageInr) -> None:
    rng = np.random.default_rng(0)
    scales = [rng.integers(-6, 7, shape).astype(np.int32) for shape in shapes(64, 96)]
    steps = torch.cat(random_network.steps(0.5)).flatten().numpy()
    steps = np.round(steps * 2.0**STEP_BITS).astype(np.int32)
    found = ExactSynthesis(random_network.synthesis).render(scales, steps, 128)
    floats = [torch.from_numpy(y)[None].float() for y in scales]
    expected = random_network.render(floats, 0.5)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(found - expected).max() < 2  # of values that reach a thousand


def test_threads_and_memory_formats_change_nothing(random_network: ImageInr) -> None:
    rng = np.random.default_rng(0)
    scales = [rng.integers(-1023, 1024, shape).astype(np.int32) for shape in shapes(128, 192)]
    steps = np.full(42, 1 << 20, np.int32)
    synthesis = ExactSynthesis(random_network.synthesis)
    threads = torch.get_num_threads()
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(synthesis.render(scales, steps, -300))
    torch.set_num_threads(threads)
    random_network.synthesis.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found.append(ExactSynthesis(random_network.synthesis).render(scales, steps, -300))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
