"""What an unmodified tritonclient does with published codecs: python published.py HOST:PORT FOLDER

Runs as client.py does. FOLDER has pixels.npy; what comes back is written beside it, and facts are
printed as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ADDRESS, FOLDER = sys.argv[1], Path(sys.argv[2])
TYPES = {"uint8": "UINT8", "int32": "INT32", "int64": "INT64", "float32": "FP32"}


def tensor(name, array):
    made = triton.InferInput(name, array.shape, TYPES.get(str(array.dtype), "BYTES"))
    made.set_data_from_numpy(array)
    return made


def back(result):
    """Return the outputs of a model as inputs of the one that undoes it."""
    return [tensor(out.name, result.as_numpy(out.name)) for out in result.get_response().outputs]


def there_and_back(client, codec, name, **settings):
    """Return facts about a codec; tokens and pictures are written as NAME-tokens.npy and so on."""
    pixels = tensor("PIXELS", np.load(FOLDER / "pixels.npy"))
    tokens = client.infer(f"{codec}.encode", [pixels], parameters=settings)
    streams = client.infer(f"{codec}.compress", [pixels], parameters=settings)
    decoded = client.infer(f"{codec}.decode", back(tokens))
    decompressed = client.infer(f"{codec}.decompress", back(streams))
    np.save(FOLDER / f"{name}-tokens.npy", tokens.as_numpy("TOKENS"))
    np.save(FOLDER / f"{name}-decoded.npy", decoded.as_numpy("PIXELS"))
    np.save(FOLDER / f"{name}-decompressed.npy", decompressed.as_numpy("PIXELS"))
    (FOLDER / f"{name}.omc").write_bytes(streams.as_numpy("STREAM")[0])
    metadata = client.get_model_metadata(f"{codec}.encode", as_json=True)
    config = client.get_model_config(f"{codec}.encode", as_json=True)["config"]
    return {
        "extent": tokens.as_numpy("EXTENT").tolist(),
        "tensors": {t["name"]: [t["datatype"], t["shape"]] for t in metadata["outputs"]},
        "facts": {key: value["string_value"] for key, value in config["parameters"].items()},
    }


def failure(call, *arguments):
    try:
        call(*arguments)
    except InferenceServerException as e:
        return [e.status(), e.message()]
    return None


def main():
    with triton.InferenceServerClient(ADDRESS) as client:
        index = client.get_model_repository_index(as_json=True)["models"]
        facts = {
            "states": {model["name"]: model["state"] for model in index},
            "vq": there_and_back(client, "hf:vq", "vq"),
            "kl": there_and_back(client, "hf:kl", "kl"),
            "kl16": there_and_back(client, "hf:kl", "kl16", quality=16),
            "statistics": client.get_inference_statistics("hf:kl.decode", as_json=True),
            "other": failure(client.get_model_metadata, "hf:some/other.encode"),
            "version": failure(client.get_model_metadata, "hf:kl@main.encode"),
        }
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
