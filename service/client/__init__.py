"""Clients of the gRPC server: the codec interface, over the network.

    sync.py          Client: blocks, may be shared between threads
    aio.py           AsyncClient: the same for asyncio
    codec.py         RemoteCodec and AsyncRemoteCodec: a server's codec, used like a local one
    operation.py     Operation and AsyncOperation: a long encode on a server
    connection.py    how to reach a server: TLS, token, options of the channel

What the two kinds of clients do is written once, as generators that yield calls and pauses, which
one kind carries out by blocking and the other by awaiting:

    steps.py         calls, pauses, asking again
    batches.py       batches split into calls that fit
    requests.py      the methods of CodecService and Operations
    errors.py        gRPC statuses to errors, and which of them are worth another try
"""

from __future__ import annotations

from omnicodec.service.client.aio import AsyncClient
from omnicodec.service.client.codec import AsyncRemoteCodec, RemoteCodec
from omnicodec.service.client.operation import AsyncOperation, Operation, State
from omnicodec.service.client.requests import Item
from omnicodec.service.client.sync import Client

__all__ = [
    "AsyncClient",
    "AsyncOperation",
    "AsyncRemoteCodec",
    "Client",
    "Item",
    "Operation",
    "RemoteCodec",
    "State",
]
