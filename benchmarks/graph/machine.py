"""What a benchmark ran on, for its JSON."""

import platform
import subprocess
from pathlib import Path


def machine() -> dict[str, str]:
    """What the figures were measured on, and the commit they belong to."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = f"{len(models)} x {models[0]}" if models else platform.processor()
    return {"machine": f"{name}, {platform.system()} {platform.machine()}", "commit": commit.stdout.strip()}
