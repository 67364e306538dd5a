from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Media(_message.Message):
    __slots__ = ("file", "image", "audio", "video", "series", "text")
    FILE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    file: bytes
    image: RawImage
    audio: RawAudio
    video: RawVideo
    series: RawSeries
    text: bytes
    def __init__(self, file: _Optional[bytes] = ..., image: _Optional[_Union[RawImage, _Mapping]] = ..., audio: _Optional[_Union[RawAudio, _Mapping]] = ..., video: _Optional[_Union[RawVideo, _Mapping]] = ..., series: _Optional[_Union[RawSeries, _Mapping]] = ..., text: _Optional[bytes] = ...) -> None: ...

class RawImage(_message.Message):
    __slots__ = ("height", "width", "pixels")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    pixels: bytes
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., pixels: _Optional[bytes] = ...) -> None: ...

class RawAudio(_message.Message):
    __slots__ = ("channels", "sample_rate", "samples")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    channels: int
    sample_rate: int
    samples: bytes
    def __init__(self, channels: _Optional[int] = ..., sample_rate: _Optional[int] = ..., samples: _Optional[bytes] = ...) -> None: ...

class RawVideo(_message.Message):
    __slots__ = ("height", "width", "fps_numerator", "fps_denominator", "frames", "audio", "count")
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    FPS_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    FPS_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    height: int
    width: int
    fps_numerator: int
    fps_denominator: int
    frames: bytes
    audio: RawAudio
    count: int
    def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ..., fps_numerator: _Optional[int] = ..., fps_denominator: _Optional[int] = ..., frames: _Optional[bytes] = ..., audio: _Optional[_Union[RawAudio, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class RawSeries(_message.Message):
    __slots__ = ("channels", "rate", "values")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    channels: int
    rate: float
    values: bytes
    def __init__(self, channels: _Optional[int] = ..., rate: _Optional[float] = ..., values: _Optional[bytes] = ...) -> None: ...

class Tokens(_message.Message):
    __slots__ = ("codec", "fingerprint", "codebooks", "ids", "grid", "extent", "soft", "soft_bits", "soft_width")
    class ExtentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CODEC_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CODEBOOKS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    SOFT_FIELD_NUMBER: _ClassVar[int]
    SOFT_BITS_FIELD_NUMBER: _ClassVar[int]
    SOFT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    codec: str
    fingerprint: str
    codebooks: int
    ids: bytes
    grid: _containers.RepeatedScalarFieldContainer[int]
    extent: _containers.ScalarMap[str, int]
    soft: bytes
    soft_bits: int
    soft_width: int
    def __init__(self, codec: _Optional[str] = ..., fingerprint: _Optional[str] = ..., codebooks: _Optional[int] = ..., ids: _Optional[bytes] = ..., grid: _Optional[_Iterable[int]] = ..., extent: _Optional[_Mapping[str, int]] = ..., soft: _Optional[bytes] = ..., soft_bits: _Optional[int] = ..., soft_width: _Optional[int] = ...) -> None: ...
