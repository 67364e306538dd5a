"""Training of the integer mixer: the static table, the maps, the mixers' first weights."""

from omnicodec.service.train.mixer.fit import MAPS, MixerSettings, fit_mixer

__all__ = ["MAPS", "MixerSettings", "fit_mixer"]
