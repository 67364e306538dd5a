from omnicodec.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(_message.Message):
    __slots__ = ("name", "version", "modality", "summary", "fingerprint", "codebook_sizes", "covers", "extent", "grid_rank", "lossless", "streaming", "qualities", "efforts", "weight_bytes", "citation", "licence", "details", "prior", "methods")
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
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., modality: _Optional[str] = ..., summary: _Optional[str] = ..., fingerprint: _Optional[str] = ..., codebook_sizes: _Optional[_Iterable[int]] = ..., covers: _Optional[_Mapping[str, float]] = ..., extent: _Optional[_Iterable[str]] = ..., grid_rank: _Optional[int] = ..., lossless: bool = ..., streaming: bool = ..., qualities: _Optional[_Iterable[int]] = ..., efforts: _Optional[_Iterable[str]] = ..., weight_bytes: _Optional[int] = ..., citation: _Optional[str] = ..., licence: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., prior: _Optional[str] = ..., methods: _Optional[_Iterable[str]] = ...) -> None: ...

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
