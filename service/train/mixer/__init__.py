"""Training of the integer mixer: the static table, the maps, the mixers' first weights."""

from omnicodec.service.train.mixer.fit import MixerSettings, fit_mixer

__all__ = ["MixerSettings", "fit_mixer"]
