"""The network that fills in lost tokens: what it looks at, on grids of any size."""

from __future__ import annotations

import pytest
import torch

from omnicodec.models.image.masked import MaskedTokens, MaskedTokensConfig, WindowAttention, build

CONFIG = MaskedTokensConfig(
    levels=(4, 3), channels=12, blocks=2, kernel=3, expansion=2, heads=2, window=4
)


@pytest.fixture(scope="module")
def network() -> MaskedTokens:
    torch.manual_seed(0)
    network = MaskedTokens(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return network.eval().requires_grad_(False)


def draw(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(sum(shape))
    return torch.randint(0, 12, shape), torch.rand(shape) < 0.4


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (7, 2), (4, 4), (8, 8), (13, 6)])
def test_any_grid(network: MaskedTokens, grid: tuple[int, int]) -> None:
    indices, missing = draw(3, *grid)
    logits = network(indices, missing)
    assert [tuple(part.shape) for part in logits] == [(3, 4, *grid), (3, 3, *grid)]
    assert all(part.isfinite().all() for part in logits)


def test_pictures_of_a_batch_do_not_see_each_other(network: MaskedTokens) -> None:
    indices, missing = draw(3, 6, 9)
    together = network(indices, missing)
    for k in range(3):
        alone = network(indices[k : k + 1], missing[k : k + 1])
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[k])


def test_what_is_missing_is_not_looked_at(network: MaskedTokens) -> None:
    indices, missing = draw(2, 9, 5)
    other = torch.where(missing, torch.randint(0, 12, indices.shape), indices)
    for a, b in zip(network(indices, missing), network(other, missing), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    known = indices.clone()
    known[~missing] = (known[~missing] + 1) % 12
    assert not torch.equal(network(known, missing)[0], network(indices, missing)[0])


@pytest.mark.parametrize("shift", [0, 2])
def test_attention_is_that_of_each_window(shift: int) -> None:
    """Compared with windows that are cut out one by one, without padding or masks."""
    torch.manual_seed(shift)
    layer = WindowAttention(8, 2, 4, shift)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4)
    x = torch.randn(2, 8, 7, 9)
    found = layer(x)
    height, width = x.shape[2:]
    mixed = layer.expand(layer.norm(x))
    for top in range(-shift, height, 4):
        for start in range(-shift, width, 4):
            rows = range(max(0, top), min(height, top + 4))
            columns = range(max(0, start), min(width, start + 4))
            places = [(y, z) for y in rows for z in columns]
            for item in range(2):
                parts = torch.stack([mixed[item, :, y, z] for y, z in places])
                query, key, value = parts.view(len(places), 3, 2, 4).permute(1, 2, 0, 3)
                offsets = torch.tensor(
                    [[(a - c + 3) * 7 + b - d + 3 for c, d in places] for a, b in places]
                )
                scores = query @ key.transpose(1, 2) / 2 + layer.bias[:, offsets]
                out = (scores.softmax(-1) @ value).permute(1, 0, 2).flatten(1)
                result = layer.project(out.T[None, :, :, None])[0, :, :, 0]
                for k, (y, z) in enumerate(places):
                    torch.testing.assert_close(
                        found[item, :, y, z], x[item, :, y, z] + result[:, k], rtol=1e-4, atol=1e-5
                    )


def test_means_and_likeliest(network: MaskedTokens) -> None:
    indices, missing = draw(1, 5, 5)
    sure = tuple(
        100.0 * torch.nn.functional.one_hot(digit, level).permute(0, 3, 1, 2)
        for digit, level in zip(network.digits(indices), CONFIG.levels, strict=True)
    )
    likely, sureness = network.likely(sure)
    assert torch.equal(likely, indices)
    assert sureness.abs().max() < 1e-6
    torch.testing.assert_close(network.expected(sure), network.vectors(indices))
    assert network.vectors(indices).abs().max() <= 1
    even = tuple(torch.zeros(1, level, 5, 5) for level in CONFIG.levels)
    assert network.expected(even).abs().max() < 1e-6
    assert network.expected(network(indices, missing)).abs().max() <= 1


def test_built_from_what_is_stored(network: MaskedTokens) -> None:
    config = MaskedTokensConfig.from_dict({**CONFIG.to_dict(), "more": 1})
    assert config == CONFIG
    halves = {name: tensor.half() for name, tensor in network.state_dict().items()}
    again = build(config, halves)
    indices, missing = draw(1, 6, 6)
    for a, b in zip(again(indices, missing), network(indices, missing), strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.2)
    with pytest.raises(RuntimeError):
        build(MaskedTokensConfig(levels=(4, 4)), halves)
