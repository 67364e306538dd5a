"""Sound in well-known formats: no delay is left, and no sample is lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from omnicodec.codecs import Audio, InvalidInput
from omnicodec.service.evaluate.anchors import Anchor, choose
from omnicodec.service.evaluate.sound_metrics import RATE, _lag, comparable, resampled, si_sdr

Make = Callable[..., Audio]


@pytest.fixture(params=["opus", "mp3", "vorbis"])
def form(request: pytest.FixtureRequest) -> Anchor:
    pytest.importorskip("soundfile" if request.param == "vorbis" else "av")
    return choose("audio", [request.param])[0]


def test_delay_is_taken_away(form: Anchor, sound: Make) -> None:
    clip = sound(1.3, 24_000)
    for setting, allowed in ((form.ladder[0], 3), (form.ladder[-1], 0)):
        decoded = form.decode(form.encode(clip, setting))
        at_rate = resampled(decoded.samples, decoded.sample_rate, RATE)
        assert abs(_lag(clip.samples, at_rate)) <= allowed  # Opus is 3 samples late at 6 kbps
        assert decoded.duration == pytest.approx(clip.duration, abs=0.001)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (48_000, 2)])
def test_any_rate_and_two_channels(form: Anchor, rate: int, channels: int, sound: Make) -> None:
    clip = sound(0.7, rate, channels)
    decoded = form.decode(form.encode(clip, form.ladder[-1]))
    assert len(decoded.samples) == channels
    x, y = comparable(clip, decoded)
    assert x.shape == (channels, pytest.approx(0.7 * RATE, abs=130))
    assert (si_sdr(x, y) or 0) > 5


def test_rates_grow_with_the_setting(form: Anchor, sound: Make) -> None:
    clip = sound(2.0)
    sizes = [len(form.encode(clip, setting)) for setting in form.ladder]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_rates_are_for_a_channel(name: str, sound: Make) -> None:
    pytest.importorskip("av")
    (form,) = choose("audio", [name])
    one, two = (len(form.encode(sound(2.0, channels=n), 16)) for n in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.2)
    assert 8 * one / 2.0 == pytest.approx(16_000, rel=0.25)


def test_more_channels_are_refused(form: Anchor) -> None:
    if form.name == "vorbis":
        pytest.skip("Vorbis takes them")
    with pytest.raises(InvalidInput, match="1 or 2 channels, not 3"):
        form.encode(Audio(np.zeros((3, 2400), np.float32), 24_000), form.ladder[0])
