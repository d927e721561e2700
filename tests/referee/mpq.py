"""Runs the mpq binary, and the options that every referee takes."""

import argparse
import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What is tested and timed is measured, not remembered.
os.environ["MPQ_CACHE"] = ""


class Refused(Exception):
    """mpq ended with something other than 0."""


def parser(description: str) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    options.add_argument("--mpq", type=Path, default=target / "debug" / "mpq", help="the binary")
    return options


def add_data_options(options: argparse.ArgumentParser) -> None:
    data = os.environ.get("MPQ_TEST_DATA")
    options.add_argument(
        "--test-data", type=Path, default=data, required=data is None,
        help="the folder of models and images [default: $MPQ_TEST_DATA]",
    )
    options.add_argument("--networks", metavar="A,B", help="only these of the networks")


def run(binary: Path, *args: object) -> str:
    """What mpq wrote to stdout."""
    command = [str(binary), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
    return done.stdout


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
