"""Long encodes that outlive their calls, and the server's process.

    calls.py      StartEncode and google.longrunning.Operations, on the event loop
    runner.py     the threads that do the work, so many at once
    store.py      what is kept: a row in SQLite for each operation
    files.py      and a folder with its request, checkpoint and response
    messages.py   rows to google.longrunning.Operation
    filters.py    what lists are narrowed by, and where their next page begins
    previews.py   the best result so far as a small picture

An operation begins as a row QUEUED. A thread makes it RUNNING, and SUCCEEDED, FAILED or
CANCELLED in the end. A server that was killed finds it RUNNING when it starts again, makes it
QUEUED, and its codec goes on from the checkpoint.
"""
