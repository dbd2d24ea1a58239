"""One reader under Atheris: ``python -m bench.fuzz.worker READER CPU-SECONDS SEED FOLDER``.

Runs until its CPU time is up and leaves ``READER.json`` in the folder: inputs, worst time and memory of one input,
findings. An exception that is no refusal, an input over its budget, a refusal of two lines: each is a finding, kept
once for each place in the code, with its input beside. libFuzzer's own limits end what hangs.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["numaprobe", "tomllib"]):
    from bench.fuzz.targets import TARGETS
    from numaprobe.errors import NumaprobeError

#: Inputs are at most this long, so that one may take:
MAX_LENGTH = 16_384
SECONDS = 3.0
MEMORY_MB = 256
#: share of the inputs that are changed by their structure, where they have one; and of these, that are made of a seed:
#: what libFuzzer keeps is mostly what was refused, and remains so
STRUCTURED = 0.8
FRESH = 0.5
#: libFuzzer ends the worker beyond these: a hang, a leak.
HANG_S = 60
LEAK_MB = 3000
_NUMBERS = (b"0", b"-1", b"8191", b"8192", b"99999", b"4611686018427387904", b"9223372036854775808", b"1e30", b"9" * 40)


class Worker:
    """Counts and keeps what happens."""

    def __init__(self, name: str, seconds: float, folder: Path) -> None:
        self.name, self.seconds, self.folder = name, seconds, folder
        self.read = TARGETS[name].read
        self.seeds = [seed[:MAX_LENGTH] for seed in TARGETS[name].seeds()]
        self.words = [word.encode("latin-1") for word in TARGETS[name].words] or [b"0"]
        self.inputs = self.taken = 0
        self.worst_s = 0.0
        self.worst_mb = 0.0
        self.findings: dict[str, str] = {}
        self.began = time.process_time()

    def one(self, data: bytes) -> None:
        """Read one input."""
        before, peak = time.process_time(), _peak_mb()
        try:
            self.read(data)
            self.taken += 1
        except NumaprobeError as error:
            if error.exit_code not in {1, 2} or "\n" in str(error):
                self.find(f"{type(error).__name__}: {error}", data)
        except Exception as error:  # noqa: BLE001  that is what is looked for
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.find(f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno} {str(error)[:80]}", data)
        now = time.process_time()
        took, grew = now - before, _peak_mb() - peak
        self.inputs += 1
        self.worst_s = max(self.worst_s, took)
        if self.inputs > 200:
            self.worst_mb = max(self.worst_mb, grew)
            if took > SECONDS or grew > MEMORY_MB:
                self.find(f"over budget: {took:.1f} s, {grew:.0f} MB", data)
        if self.inputs % 256 == 0 or now - self.began > self.seconds:
            self.save()
        if now - self.began > self.seconds:
            sys.stdout.flush()
            import os

            os._exit(0)

    def find(self, what: str, data: bytes) -> None:
        """Keep a finding, once for each place."""
        place = what.split(" ", 3)[:3]
        key = " ".join(place)
        if key not in self.findings and len(self.findings) < 50:
            self.findings[key] = what
            number = len(self.findings)
            (self.folder / f"{self.name}.finding{number}").write_bytes(data)
            self.save()

    def save(self) -> None:
        """Leave what is known so far."""
        facts: dict[str, Any] = {
            "reader": self.name,
            "inputs": self.inputs,
            "read": self.taken,
            "cpu_s": time.process_time() - self.began,
            "worst_s": self.worst_s,
            "worst_mb": self.worst_mb,
            "findings": sorted(self.findings.values()),
        }
        (self.folder / f"{self.name}.json").write_text(json.dumps(facts), encoding="utf-8")

    def mutate(self, data: bytes, limit: int, seed: int) -> bytes:
        """Change an input by its structure if it has one, else by its lines and words, or by its bytes."""
        dice = random.Random(seed)
        change = TARGETS[self.name].change
        if change is not None and dice.random() < STRUCTURED:
            base = dice.choice(self.seeds) if dice.random() < FRESH else data
            if (changed := change(base, dice)) is not None and len(changed) <= limit:
                return changed
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(data, limit))
        cut = b"\n" if b"\n" in data and dice.random() < 0.5 else b" "
        parts = data.split(cut)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(parts))
            match dice.randrange(6):
                case 0:
                    parts.insert(at, dice.choice(parts))
                case 1 if len(parts) > 1:
                    del parts[at]
                case 2:
                    other = dice.randrange(len(parts))
                    parts[at], parts[other] = parts[other], parts[at]
                case 3:
                    parts[at] = dice.choice(self.words)
                case 4:
                    parts[at] += dice.choice(self.words) + dice.choice(_NUMBERS)
                case _:
                    parts[at] = _other_number(parts[at], dice)
        return cut.join(parts)[:limit]


def _other_number(part: bytes, dice: random.Random) -> bytes:
    import re

    numbers = list(re.finditer(rb"\d+", part))
    if not numbers:
        return part * dice.randint(0, 20)
    found = dice.choice(numbers)
    return part[: found.start()] + dice.choice(_NUMBERS) + part[found.end() :]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    name, seconds, seed, folder = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    corpus = folder / f"{name}.corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    worker = Worker(name, seconds, folder)
    for number, data in enumerate(worker.seeds):
        (corpus / f"seed{number:03d}").write_bytes(data)
    arguments = [
        sys.argv[0],
        f"-seed={seed or 1}",
        f"-max_len={MAX_LENGTH}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={LEAK_MB}",
        f"-artifact_prefix={folder}/{name}.stopped.",
        "-verbosity=0",
        str(corpus),
    ]
    atheris.Setup(arguments, worker.one, custom_mutator=worker.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
