"""That these tests are what they say: users without rights, and protections that come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import protections
from users import needs_root

from .conftest import ALICE, BOB, People

pytestmark = needs_root


def test_an_attacker_has_no_rights_but_his_own(people: People) -> None:
    secret = people.home(ALICE) / "secret"
    secret.write_text("x")
    os.chown(secret, ALICE, ALICE)
    secret.chmod(0o600)
    program = """
try:
    open(sys.argv[1]).read()
except PermissionError:
    print("kept out", os.getuid(), flush=True)
"""
    attacker = people.attack(BOB, program + "    sys.stdin.read()", str(secret))
    assert attacker.poll() is None
    assert people.run(ALICE, "cat", str(secret)).stdout == "x"


@pytest.mark.skipif(not protections.may_switch(), reason="fs.protected_* can't be switched here")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_protections_come_back_whoever_is_killed(number: int) -> None:
    before = protections.at_rest()
    other = protections.OFF if before == protections.ON else protections.ON
    program = f"""if True:
        import sys, time
        sys.path.insert(0, {str(Path(protections.__file__).parent)!r})
        import protections
        with protections.switched({other!r}):
            print(flush=True)
            time.sleep(600)
    """
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert protections.values() == other
    holder.send_signal(number)
    holder.wait(60)
    holder.stdout.close()
    assert protections.at_rest() == before
