"""The network of `text/patch` in training: gradients reach all of it, its codes stay in use."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from omnicodec.models.text.patch import END, Batch, PatchConfig, PatchNet

SMALL = PatchConfig(
    codebooks=2, bits=3, longest=4, before=3, embedding=6, encoder=24, trunk=16, place=8,
    decoder=20,
)  # fmt: skip


def batch(count: int, seed: int = 0) -> Batch:
    """Return random patches of four letters, all rows in order."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, SMALL.longest + 1, count)
    patch = rng.integers(97, 101, (count, SMALL.longest))
    patch[np.arange(SMALL.longest) >= lengths[:, None]] = END
    before = rng.integers(97, 101, (count, SMALL.before))
    rows = [(p, at) for p in range(count) for at in range(min(lengths[p] + 1, SMALL.longest))]
    text = np.concatenate([before[:, ::-1], patch], 1)
    window = [text[p, at : at + SMALL.before][::-1] for p, at in rows]
    owner, place = np.array(rows).T
    arrays = (patch, before, owner, place, np.array(window), patch[owner, place])
    return Batch(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays))


def test_config_round_trip() -> None:
    assert PatchConfig.from_dict(SMALL.to_dict()) == SMALL
    assert PatchConfig.from_dict({**SMALL.to_dict(), "version": 7}) == SMALL
    assert SMALL.code_bits == 6


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = PatchNet(SMALL)
    rows = batch(64)
    F.cross_entropy(network(rows), rows.target).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_uses_the_codes() -> None:
    """Letters drawn at random can come back only through the codes."""
    torch.manual_seed(0)
    network = PatchNet(SMALL)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for step in range(100):
        rows = batch(64, step)
        loss = F.cross_entropy(network(rows), rows.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * np.log(4)  # a letter is worth ln 4 without the codes
    network.eval()
    rows = batch(500, 1000)
    with torch.no_grad():
        bits = network.bits(network.scores(rows.patch, rows.before))
    assert (bits.mean(0).abs() < 0.9).all()  # no bit is constant


def test_evaluation_does_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    network = PatchNet(SMALL)
    for seed in range(3):
        network(batch(50, seed))
    network.eval()
    rows = batch(20)
    with torch.no_grad():
        whole = network(rows)
        mine = rows.owner == 7
        one = Batch(
            rows.patch[7:8], rows.before[7:8], rows.owner[mine] * 0, rows.place[mine],
            rows.window[mine], rows.target[mine],
        )  # fmt: skip
        assert torch.equal(network(one), whole[mine])
