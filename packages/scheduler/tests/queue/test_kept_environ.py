"""Which variables of a submitter's environment are never kept with his jobs."""

from __future__ import annotations

import os

import pytest

from simple_gpu_scheduler.queue.kept_environ import kept


def names(environ: dict[str, str]) -> list[str]:
    return [
        os.fsdecode(name)
        for name, _ in kept((os.fsencode(k), os.fsencode(v)) for k, v in environ.items())
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SGS_LEASE", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTER_TOKEN", "BW_SESSION",
        "OP_SESSION_my", "SSH_AGENT_PID", "SUDO_COMMAND",
    ],
)  # fmt: skip
def test_keys_to_sessions_are_never_kept(name: str) -> None:
    assert names({name: "x", "PATH": "/bin"}) == ["PATH"]


def test_what_jobs_need_is_kept() -> None:
    needed = [
        "AWS_SECRET_ACCESS_KEY", "DISPLAY", "HF_TOKEN", "KRB5CCNAME", "PATH", "SSH_AUTH_SOCK",
        "SUDO_USER", "WANDB_API_KEY", "XSGS_LEASE",
    ]  # fmt: skip
    assert names(dict.fromkeys(needed, "")) == needed


@pytest.mark.parametrize("text", ["A,*_PASSWORD,B?", " A *_PASSWORD\tB? ", ",A,,\n*_PASSWORD,B?"])
def test_a_user_names_more(text: str) -> None:
    environ = dict.fromkeys(["A", "AA", "B", "B1", "MY_PASSWORD", "MY_PASSWORDS", "a"], "x")
    assert names({"SGS_NEVER_KEEP": text} | environ) == [
        "AA", "B", "MY_PASSWORDS", "SGS_NEVER_KEEP", "a",
    ]  # fmt: skip


def test_all_other_signs_stand_for_themselves() -> None:
    environ = dict.fromkeys(["A.C", "ABC", "[A]", "\udcff", "a\nb"], "x")
    assert names({"SGS_NEVER_KEEP": "A.C [A] \udcff a*b"} | environ) == ["ABC", "SGS_NEVER_KEEP"]
