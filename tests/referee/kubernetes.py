"""The Kubernetes example: its manifest against the schemas of several versions, and its commands by hand.

The commands run index by index in a folder in place of the volume; one index is killed and begun again. What
they merge must be what one machine writes, byte for byte.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import kubernetes_validate
import yaml

import mpq

MANIFEST = mpq.ROOT / "examples" / "cluster" / "kubernetes.yaml"
DIGITS = mpq.ROOT / "examples" / "digits"
VERSIONS = ["1.28", "1.31", "1.37"]


def start(job: dict, environment: dict[str, str], folder: Path, index: int) -> subprocess.Popen:
    """Starts the command of a pod as kubelet does, with the folder for the volume."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["workingDir"] == "/data" == container["volumeMounts"][0]["mountPath"]
    command = container["command"] + container["args"]
    if job["spec"].get("completionMode") == "Indexed":
        environment = {**environment, "JOB_COMPLETION_INDEX": str(index)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(pod: subprocess.Popen) -> None:
    output, _ = pod.communicate()
    assert pod.returncode == 0, output


def main() -> None:
    options = mpq.parser(__doc__)
    binary = options.parse_args().mpq.resolve()
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    for version in VERSIONS:
        for document in documents:
            kubernetes_validate.validate(document, version, strict=True)
    config, ranges, shards, merge = documents
    n_shards = shards["spec"]["completions"]
    assert config["data"]["SHARDS"] == str(n_shards)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(DIGITS / "model.onnx", folder)
        shutil.copytree(DIGITS / "calib", folder / "images")
        (folder / "bin").mkdir()
        (folder / "bin" / "mpq").symlink_to(binary)
        environment = {name: value.replace("/data", str(folder)) for name, value in config["data"].items()}
        environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"

        finish(start(ranges, environment, folder, 0))
        evicted = start(shards, environment, folder, 0)
        while not (folder / "parts" / "0.json.progress").exists():
            assert evicted.poll() is None, "it is done before it could be evicted"
            time.sleep(0.01)
        evicted.send_signal(signal.SIGKILL)
        evicted.wait()
        assert not (folder / "parts" / "0.json").exists()
        for index in range(n_shards):
            finish(start(shards, environment, folder, index))
        finish(start(merge, environment, folder, 0))

        whole = folder / "whole.json"
        mpq.run(binary, "sensitivity", folder / "model.onnx", "--calib", folder / "images", "-o", whole)
        assert (folder / "sensitivity.json").read_bytes() == whole.read_bytes()
        assert (folder / "config.json").exists()
    print(f"Kubernetes {', '.join(VERSIONS)}: the manifest is valid; {n_shards} shards make the whole, byte for byte")


if __name__ == "__main__":
    main()
