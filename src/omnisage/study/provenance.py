"""Which code, on which machine."""

import os
import platform
import subprocess
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def describe_commit() -> str:
    """The commit of the code that runs, and whether its files differ from it; "unknown" outside a repository."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    return f"{commit} + changes" if _git("status", "--porcelain", "--untracked-files=no", "--", ".") else commit


def describe_machine() -> str:
    """Processor, cores, system and Python."""
    lines = _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent.parent), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
