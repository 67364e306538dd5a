import datetime

from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from omnicodec.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(_message.Message):
    __slots__ = ("name", "version", "modality", "summary", "fingerprint", "codebook_sizes", "covers", "extent", "grid_rank", "lossless", "streaming", "qualities", "efforts", "weight_bytes", "citation", "licence", "details", "prior", "methods", "resumable", "soft_width", "usual")
    class CoversEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class UsualEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CODEBOOK_SIZES_FIELD_NUMBER: _ClassVar[int]
    COVERS_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    GRID_RANK_FIELD_NUMBER: _ClassVar[int]
    LOSSLESS_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    EFFORTS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CITATION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    SOFT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    USUAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    modality: str
    summary: str
    fingerprint: str
    codebook_sizes: _containers.RepeatedScalarFieldContainer[int]
    covers: _containers.ScalarMap[str, float]
    extent: _containers.RepeatedScalarFieldContainer[str]
    grid_rank: int
    lossless: bool
    streaming: bool
    qualities: _containers.RepeatedScalarFieldContainer[int]
    efforts: _containers.RepeatedScalarFieldContainer[str]
    weight_bytes: int
    citation: str
    licence: str
    details: _containers.ScalarMap[str, str]
    prior: str
    methods: _containers.RepeatedScalarFieldContainer[str]
    resumable: bool
    soft_width: int
    usual: _containers.ScalarMap[str, int]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., modality: _Optional[str] = ..., summary: _Optional[str] = ..., fingerprint: _Optional[str] = ..., codebook_sizes: _Optional[_Iterable[int]] = ..., covers: _Optional[_Mapping[str, float]] = ..., extent: _Optional[_Iterable[str]] = ..., grid_rank: _Optional[int] = ..., lossless: bool = ..., streaming: bool = ..., qualities: _Optional[_Iterable[int]] = ..., efforts: _Optional[_Iterable[str]] = ..., weight_bytes: _Optional[int] = ..., citation: _Optional[str] = ..., licence: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., prior: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ..., resumable: bool = ..., soft_width: _Optional[int] = ..., usual: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ListCodecsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCodecsResponse(_message.Message):
    __slots__ = ("codecs",)
    CODECS_FIELD_NUMBER: _ClassVar[int]
    codecs: _containers.RepeatedCompositeFieldContainer[Codec]
    def __init__(self, codecs: _Optional[_Iterable[_Union[Codec, _Mapping]]] = ...) -> None: ...

class GetCodecRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("codec", "items", "quality", "effort", "method")
    CODEC_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    codec: str
    items: _containers.RepeatedCompositeFieldContainer[_media_pb2.Media]
    quality: int
    effort: str
    method: str
    def __init__(self, codec: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_media_pb2.Media, _Mapping]]] = ..., quality: _Optional[int] = ..., effort: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[_media_pb2.Tokens]
    def __init__(self, tokens: _Optional[_Iterable[_Union[_media_pb2.Tokens, _Mapping]]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("tokens", "format")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[_media_pb2.Tokens]
    format: str
    def __init__(self, tokens: _Optional[_Iterable[_Union[_media_pb2.Tokens, _Mapping]]] = ..., format: _Optional[str] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_media_pb2.Media]
    def __init__(self, items: _Optional[_Iterable[_Union[_media_pb2.Media, _Mapping]]] = ...) -> None: ...

class CompressRequest(_message.Message):
    __slots__ = ("codec", "items", "quality", "effort", "method")
    CODEC_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    codec: str
    items: _containers.RepeatedCompositeFieldContainer[_media_pb2.Media]
    quality: int
    effort: str
    method: str
    def __init__(self, codec: _Optional[str] = ..., items: _Optional[_Iterable[_Union[_media_pb2.Media, _Mapping]]] = ..., quality: _Optional[int] = ..., effort: _Optional[str] = ..., method: _Optional[str] = ...) -> None: ...

class CompressResponse(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, streams: _Optional[_Iterable[bytes]] = ...) -> None: ...

class DecompressRequest(_message.Message):
    __slots__ = ("streams", "format", "partial")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedScalarFieldContainer[bytes]
    format: str
    partial: bool
    def __init__(self, streams: _Optional[_Iterable[bytes]] = ..., format: _Optional[str] = ..., partial: bool = ...) -> None: ...

class DecompressResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[_media_pb2.Media]
    def __init__(self, items: _Optional[_Iterable[_Union[_media_pb2.Media, _Mapping]]] = ...) -> None: ...

class EncodeStreamConfig(_message.Message):
    __slots__ = ("codec", "quality", "effort", "method", "output", "chunk_seconds")
    class Output(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTPUT_UNSPECIFIED: _ClassVar[EncodeStreamConfig.Output]
        OUTPUT_TOKENS: _ClassVar[EncodeStreamConfig.Output]
        OUTPUT_STREAM: _ClassVar[EncodeStreamConfig.Output]
    OUTPUT_UNSPECIFIED: EncodeStreamConfig.Output
    OUTPUT_TOKENS: EncodeStreamConfig.Output
    OUTPUT_STREAM: EncodeStreamConfig.Output
    CODEC_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    codec: str
    quality: int
    effort: str
    method: str
    output: EncodeStreamConfig.Output
    chunk_seconds: float
    def __init__(self, codec: _Optional[str] = ..., quality: _Optional[int] = ..., effort: _Optional[str] = ..., method: _Optional[str] = ..., output: _Optional[_Union[EncodeStreamConfig.Output, str]] = ..., chunk_seconds: _Optional[float] = ...) -> None: ...

class EncodeStreamRequest(_message.Message):
    __slots__ = ("config", "piece")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    PIECE_FIELD_NUMBER: _ClassVar[int]
    config: EncodeStreamConfig
    piece: _media_pb2.Media
    def __init__(self, config: _Optional[_Union[EncodeStreamConfig, _Mapping]] = ..., piece: _Optional[_Union[_media_pb2.Media, _Mapping]] = ...) -> None: ...

class EncodeStreamResponse(_message.Message):
    __slots__ = ("tokens", "stream")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    tokens: _media_pb2.Tokens
    stream: bytes
    def __init__(self, tokens: _Optional[_Union[_media_pb2.Tokens, _Mapping]] = ..., stream: _Optional[bytes] = ...) -> None: ...

class DecodeStreamConfig(_message.Message):
    __slots__ = ("format", "partial")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    format: str
    partial: bool
    def __init__(self, format: _Optional[str] = ..., partial: bool = ...) -> None: ...

class DecodeStreamRequest(_message.Message):
    __slots__ = ("config", "tokens", "stream")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    config: DecodeStreamConfig
    tokens: _media_pb2.Tokens
    stream: bytes
    def __init__(self, config: _Optional[_Union[DecodeStreamConfig, _Mapping]] = ..., tokens: _Optional[_Union[_media_pb2.Tokens, _Mapping]] = ..., stream: _Optional[bytes] = ...) -> None: ...

class DecodeStreamResponse(_message.Message):
    __slots__ = ("piece",)
    PIECE_FIELD_NUMBER: _ClassVar[int]
    piece: _media_pb2.Media
    def __init__(self, piece: _Optional[_Union[_media_pb2.Media, _Mapping]] = ...) -> None: ...

class StartEncodeRequest(_message.Message):
    __slots__ = ("codec", "item", "quality", "effort", "method", "target_psnr", "target_bytes", "output", "request_id", "preview_interval")
    class Output(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTPUT_UNSPECIFIED: _ClassVar[StartEncodeRequest.Output]
        OUTPUT_TOKENS: _ClassVar[StartEncodeRequest.Output]
        OUTPUT_STREAM: _ClassVar[StartEncodeRequest.Output]
    OUTPUT_UNSPECIFIED: StartEncodeRequest.Output
    OUTPUT_TOKENS: StartEncodeRequest.Output
    OUTPUT_STREAM: StartEncodeRequest.Output
    CODEC_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    EFFORT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_PSNR_FIELD_NUMBER: _ClassVar[int]
    TARGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    codec: str
    item: _media_pb2.Media
    quality: int
    effort: str
    method: str
    target_psnr: float
    target_bytes: int
    output: StartEncodeRequest.Output
    request_id: str
    preview_interval: _duration_pb2.Duration
    def __init__(self, codec: _Optional[str] = ..., item: _Optional[_Union[_media_pb2.Media, _Mapping]] = ..., quality: _Optional[int] = ..., effort: _Optional[str] = ..., method: _Optional[str] = ..., target_psnr: _Optional[float] = ..., target_bytes: _Optional[int] = ..., output: _Optional[_Union[StartEncodeRequest.Output, str]] = ..., request_id: _Optional[str] = ..., preview_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StartEncodeResponse(_message.Message):
    __slots__ = ("tokens", "stream")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    tokens: _media_pb2.Tokens
    stream: bytes
    def __init__(self, tokens: _Optional[_Union[_media_pb2.Tokens, _Mapping]] = ..., stream: _Optional[bytes] = ...) -> None: ...

class StartEncodeMetadata(_message.Message):
    __slots__ = ("state", "codec", "create_time", "start_time", "end_time", "expire_time", "progress", "preview")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[StartEncodeMetadata.State]
        STATE_QUEUED: _ClassVar[StartEncodeMetadata.State]
        STATE_RUNNING: _ClassVar[StartEncodeMetadata.State]
        STATE_SUCCEEDED: _ClassVar[StartEncodeMetadata.State]
        STATE_FAILED: _ClassVar[StartEncodeMetadata.State]
        STATE_CANCELLED: _ClassVar[StartEncodeMetadata.State]
    STATE_UNSPECIFIED: StartEncodeMetadata.State
    STATE_QUEUED: StartEncodeMetadata.State
    STATE_RUNNING: StartEncodeMetadata.State
    STATE_SUCCEEDED: StartEncodeMetadata.State
    STATE_FAILED: StartEncodeMetadata.State
    STATE_CANCELLED: StartEncodeMetadata.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    state: StartEncodeMetadata.State
    codec: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    progress: EncodeProgress
    preview: bytes
    def __init__(self, state: _Optional[_Union[StartEncodeMetadata.State, str]] = ..., codec: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress: _Optional[_Union[EncodeProgress, _Mapping]] = ..., preview: _Optional[bytes] = ...) -> None: ...

class EncodeProgress(_message.Message):
    __slots__ = ("share", "step", "bits", "psnr", "seconds_left")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BITS_FIELD_NUMBER: _ClassVar[int]
    PSNR_FIELD_NUMBER: _ClassVar[int]
    SECONDS_LEFT_FIELD_NUMBER: _ClassVar[int]
    share: float
    step: int
    bits: float
    psnr: float
    seconds_left: float
    def __init__(self, share: _Optional[float] = ..., step: _Optional[int] = ..., bits: _Optional[float] = ..., psnr: _Optional[float] = ..., seconds_left: _Optional[float] = ...) -> None: ...
