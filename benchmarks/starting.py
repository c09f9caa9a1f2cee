"""What it takes to start: fresh processes, of which the best counts, since nothing makes an import too fast."""

import subprocess
import sys
from collections.abc import Mapping

from benchmarks.scale import Scale, Tick
from benchmarks.serve import ROOT

IMPORTED = ("backend.main", "fastapi, sqlmodel")
CODE = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"


def imports(scale: Scale, tick: Tick) -> Mapping[str, float]:
    """Seconds of `import …` by what is imported; the second for scale: nobody who uses them gets below it."""
    found: dict[str, list[float]] = {name: [] for name in IMPORTED}
    for _ in range(scale.starts):
        for name in IMPORTED:
            command = [sys.executable, "-c", CODE.format(name)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
            found[name].append(float(done.stdout))
        tick()
    return {name: min(times) for name, times in found.items()}
