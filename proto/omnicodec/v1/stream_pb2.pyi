from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamHeader(_message.Message):
    __slots__ = ("codec", "codec_version", "fingerprint", "prior", "grid", "extent", "chunk_positions", "quality", "source", "metadata", "sound")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODEC_FIELD_NUMBER: _ClassVar[int]
    CODEC_VERSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    codec: str
    codec_version: int
    fingerprint: bytes
    prior: bytes
    grid: _containers.RepeatedScalarFieldContainer[int]
    extent: _containers.RepeatedScalarFieldContainer[int]
    chunk_positions: int
    quality: int
    source: SourceFile
    metadata: _containers.ScalarMap[str, str]
    sound: StreamHeader
    def __init__(self, codec: _Optional[str] = ..., codec_version: _Optional[int] = ..., fingerprint: _Optional[bytes] = ..., prior: _Optional[bytes] = ..., grid: _Optional[_Iterable[int]] = ..., extent: _Optional[_Iterable[int]] = ..., chunk_positions: _Optional[int] = ..., quality: _Optional[int] = ..., source: _Optional[_Union[SourceFile, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., sound: _Optional[_Union[StreamHeader, _Mapping]] = ...) -> None: ...

class StreamEnd(_message.Message):
    __slots__ = ("grid", "extent")
    GRID_FIELD_NUMBER: _ClassVar[int]
    EXTENT_FIELD_NUMBER: _ClassVar[int]
    grid: _containers.RepeatedScalarFieldContainer[int]
    extent: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, grid: _Optional[_Iterable[int]] = ..., extent: _Optional[_Iterable[int]] = ...) -> None: ...

class SourceFile(_message.Message):
    __slots__ = ("name", "size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...
