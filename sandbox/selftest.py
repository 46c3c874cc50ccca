"""The start-up self-test: the most dangerous attacks of the suite, struck at a back end before it is trusted."""

from sandbox.attacks import ATTACKS, open_stage, strike
from sandbox.native import WorkerDied
from sandbox.python import Sandbox, SandboxFailed

ESSENTIAL = [attack for attack in ATTACKS if attack.essential]
PROGRAM = "import math\nFACTOR = 2\ndef double(x):\n    return FACTOR * x + math.floor(0.5)"


def broken(sandbox: Sandbox) -> str:
    """Why this sandbox is not to be trusted here; empty if it runs a plain program and every attack fails.

    Raises CannotRun, when the machine lacks what the back end needs.
    """
    try:
        answer = sandbox.run(PROGRAM, ["double(21)"]).answers[0]
    except (SandboxFailed, WorkerDied) as error:
        return f"it does not run: {error}"
    if not answer.equals(42):
        return f"a plain program gave {answer}"
    with open_stage() as stage:
        for attack in ESSENTIAL:
            if how := strike(attack, sandbox, stage):
                return f"the attack {attack.group}/{attack.name} succeeded: {how}"
    return ""
