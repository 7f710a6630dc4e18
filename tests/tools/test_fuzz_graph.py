"""A short run of the fuzzer, and that it sees what it is for: failures, crashes and hangs."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_graph.py"


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


def test_random_arguments_and_damaged_graphs_are_refused_or_right() -> None:
    done = fuzz("--num-inputs", "300", "--num-artifacts", "50", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inputs: 300 cases, 0 failures" in done.stdout
    assert "artifacts: 50 cases, 0 failures" in done.stdout
    assert "returned and checked" in done.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "inputs 3: CRASHED with status -11"),
        ("time.sleep(60)", "inputs 3: HUNG for 8 s"),
        ("raise RuntimeError('broken')", "inputs 3: FAILED RuntimeError: broken"),
    ],
)
def test_the_fuzzer_names_the_case_that_went_wrong_and_goes_on(tmp_path: Path, line: str, message: str) -> None:
    for file in TOOL.parent.glob("fuzz_*.py"):
        text = file.read_text().replace("TIMEOUT_S = 60", "TIMEOUT_S = 8")
        if file.name == "fuzz_inputs.py":
            marker = "    name, function, parameters, world = _draw_function(rng)\n"
            assert marker in text
            broken = f"    if rng.bit_generator.seed_seq.entropy[2] == 3:\n        import os, signal, time; {line}\n"
            text = text.replace(marker, broken + marker)
        (tmp_path / file.name).write_text(text)
    command = [sys.executable, str(tmp_path / TOOL.name), "--num-inputs", "6", "--num-artifacts", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "inputs: 6 cases, 1 failures" in done.stdout
    assert message in done.stdout
