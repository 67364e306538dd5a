"""What an unmodified tritonclient does with a server: python client.py HOST:PORT FOLDER

Runs in an environment that has tritonclient[grpc] and NumPy, and nothing of omnicodec. FOLDER has
pixels.npy, picture.png, samples.npy and text.bin; what comes back is written beside them. Prints
facts as JSON, one object with a key for each part.
"""

import json
import queue
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ADDRESS, FOLDER = sys.argv[1], Path(sys.argv[2])


def tensor(name, array):
    """Return an input of an array; bytes objects are BYTES."""
    types = {"uint8": "UINT8", "int32": "INT32", "int64": "INT64", "float32": "FP32"}
    made = triton.InferInput(name, array.shape, types.get(str(array.dtype), "BYTES"))
    made.set_data_from_numpy(array)
    return made


def files(*contents):
    return np.array(contents, object)


def back(result):
    """Return the outputs of a model as inputs of the one that undoes it."""
    return [tensor(out.name, result.as_numpy(out.name)) for out in result.get_response().outputs]


def failure(call, *arguments, **settings):
    try:
        call(*arguments, **settings)
    except InferenceServerException as e:
        return [e.status(), e.message()]
    return None


def describe(client):
    pixels = np.load(FOLDER / "pixels.npy")
    metadata = client.get_model_metadata("image.vq.encode", as_json=True)
    config = client.get_model_config("image.vq.encode", as_json=True)["config"]
    before = client.is_model_ready("text.bytes.encode")
    client.load_model("text.bytes.encode")
    index = client.get_model_repository_index(as_json=True)["models"]
    client.infer("image.vq.encode", [tensor("PIXELS", pixels)])
    statistics = client.get_inference_statistics("image.vq.encode", as_json=True)["model_stats"]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "before": before,
        "after": client.is_model_ready("text.bytes.encode"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": metadata,
        "config": config,
        "states": {model["name"]: model["state"] for model in index},
        "statistics": statistics,
        "all": len(client.get_inference_statistics(as_json=True)["model_stats"]),
    }


def pictures(client):
    pixels = np.load(FOLDER / "pixels.npy")
    png = (FOLDER / "picture.png").read_bytes()
    one = client.infer("image.vq.encode", [tensor("PIXELS", pixels)], request_id="seven")
    batch = client.infer("image.vq.encode", [tensor("PIXELS", np.stack([pixels, pixels]))])
    file = client.infer("image.vq.encode", [tensor("FILE", files(png))])
    np.save(FOLDER / "tokens.npy", one.as_numpy("TOKENS"))
    np.save(FOLDER / "batch.npy", batch.as_numpy("TOKENS"))
    np.save(FOLDER / "file.npy", file.as_numpy("TOKENS"))
    np.save(FOLDER / "decoded.npy", client.infer("image.vq.decode", back(batch)).as_numpy("PIXELS"))
    png = client.infer("image.vq.decode", back(one), parameters={"format": ".png"})
    (FOLDER / "decoded.png").write_bytes(png.as_numpy("FILE")[0])
    streams = client.infer(
        "image.vq.compress", [tensor("PIXELS", pixels)], parameters={"quality": 50}
    )
    (FOLDER / "picture.omc").write_bytes(streams.as_numpy("STREAM")[0])
    whole = client.infer("image.vq.decompress", back(streams))
    np.save(FOLDER / "decompressed.npy", whole.as_numpy("PIXELS"))
    chosen = client.infer(
        "image.vq.encode", [tensor("PIXELS", pixels)], outputs=[triton.InferRequestedOutput("GRID")]
    )
    return {
        "id": one.get_response().id,
        "version": one.get_response().model_version,
        "grid": batch.as_numpy("GRID").tolist(),
        "extent": batch.as_numpy("EXTENT").tolist(),
        "fingerprint": one.as_numpy("FINGERPRINT")[0].decode(),
        "chosen": [out.name for out in chosen.get_response().outputs],
    }


def sound_and_text(client):
    samples = np.load(FOLDER / "samples.npy")
    rate = np.array([16_000], np.int32)
    inputs = [tensor("SAMPLES", samples), tensor("SAMPLE_RATE", rate)]
    tokens = client.infer("audio.rvq.encode", inputs)
    np.save(FOLDER / "sound.npy", tokens.as_numpy("TOKENS"))
    heard = client.infer("audio.rvq.decode", back(tokens))
    np.save(FOLDER / "heard.npy", heard.as_numpy("SAMPLES"))
    text = (FOLDER / "text.bin").read_bytes()
    words = client.infer("text.bytes.encode", [tensor("TEXT", files(text, b"", b"short"))])
    read = client.infer("text.bytes.decode", back(words)).as_numpy("TEXT")
    return {
        "rate": heard.as_numpy("SAMPLE_RATE").tolist(),
        "texts": [bytes(each).hex() for each in read],
    }


def errors(client):
    pixels = np.load(FOLDER / "pixels.npy")
    given = [tensor("PIXELS", pixels)]
    tokens = client.infer("image.vq.encode", given)
    inputs = {each.name(): each for each in back(tokens)}
    other = {**inputs, "FINGERPRINT": tensor("FINGERPRINT", files(b"0" * 16))}
    ragged = client.infer("text.bytes.encode", [tensor("TEXT", files(b"a"))])
    return {
        "model": failure(client.infer, "image.none.encode", given),
        "version": failure(client.infer, "image.vq.encode", given, model_version="99"),
        "metadata": failure(client.get_model_metadata, "nothing"),
        "input": failure(client.infer, "image.vq.encode", [tensor("FOO", pixels)]),
        "none": failure(client.infer, "image.vq.encode", []),
        "type": failure(client.infer, "image.vq.encode", [tensor("FILE", pixels)]),
        "file": failure(client.infer, "image.vq.encode", [tensor("FILE", files(b"no picture"))]),
        "parameter": failure(client.infer, "image.vq.encode", given, parameters={"speed": 9}),
        "quality": failure(client.infer, "image.vq.encode", given, parameters={"quality": 9}),
        "fingerprint": failure(client.infer, "image.vq.decode", list(other.values())),
        "modality": failure(client.infer, "image.vq.decode", back(ragged)),
        "stream": failure(client.infer, "image.vq.decompress", [tensor("STREAM", files(b"x"))]),
        "output": failure(
            client.infer, "image.vq.encode", given, outputs=[triton.InferRequestedOutput("FOO")]
        ),
        "unload": failure(client.unload_model, "image.vq.encode"),
    }


def streaming(client):
    pixels = np.load(FOLDER / "pixels.npy")
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(4):
        client.async_stream_infer(
            "image.vq.encode",
            [tensor("PIXELS", pixels[: 16 * (number + 1)])],
            request_id=str(number),
            enable_empty_final_response=True,
        )
    client.async_stream_infer("image.vq.encode", [tensor("FOO", pixels)], request_id="bad")
    client.async_stream_infer("image.vq.encode", [tensor("PIXELS", pixels)], request_id="last")
    found = []
    for _ in range(6):
        result, error = answers.get(timeout=60)
        if error is not None:
            found.append([error.status(), error.message()])
        else:
            response = result.get_response()
            final = response.parameters["triton_final_response"].bool_param
            found.append([response.id, result.as_numpy("GRID").tolist(), final])
    client.stop_stream()
    client.start_stream(
        lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"}
    )
    client.async_stream_infer("image.none.encode", [tensor("PIXELS", pixels)])
    result, error = answers.get(timeout=60)
    client.stop_stream()
    return {"answers": found, "strict": [result is None, error.status(), error.message()]}


def main():
    with triton.InferenceServerClient(ADDRESS) as client:
        parts = (describe, pictures, sound_and_text, errors, streaming)
        print(json.dumps({part.__name__: part(client) for part in parts}))


if __name__ == "__main__":
    main()
