"""A repository of somebody else names programs: `--freeze` runs none, and fetches nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.worktrees.checkout import checkout
from simple_gpu_scheduler.queue.worktrees.cleaning import remove_snapshots
from simple_gpu_scheduler.queue.worktrees.git import MissingError, UntrustedError, git
from simple_gpu_scheduler.queue.worktrees.snapshot import take_snapshot

pytestmark = pytest.mark.usefixtures("own_configuration")

ANOTHER = 61002


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The queue's."""
    (tmp_path / "queue").mkdir()
    return str(tmp_path / "queue")


def trees(tmp_path: Path, origin: Path, where: str) -> tuple[Path, Path]:
    """A work tree, and a copy of the repository: that itself, or one within it."""
    top = tmp_path / "top"
    top.mkdir()
    told(top, "init", "-q")
    tree = top if where == "top" else top / "within"
    shutil.copytree(origin, tree, dirs_exist_ok=True)
    return top, tree


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository that gives what it is asked for."""
    path = tmp_path / "origin"
    path.mkdir()
    told(path, "init", "-q", "-b", "main")
    (path / "code.py").write_text("1")
    (path / "sub").mkdir()
    (path / "sub" / ".gitignore").write_text("*.log\n")
    told(path, "add", "-A")
    told(path, "commit", "-q", "-m", "x")
    for name in ("allowFilter", "allowAnySHA1InWant"):
        told(path, "config", f"uploadpack.{name}", "true")
    return path


@pytest.fixture
def partial(tmp_path: Path, origin: Path) -> Path:
    """A partial clone, in which git has to see a file that isn't there."""
    path = tmp_path / "it's\npartial"
    told(tmp_path, "clone", "-q", "--filter=blob:none", "--sparse", f"file://{origin}", str(path))
    (path / "sub").mkdir()
    (path / "sub" / "new").touch()
    return path


def told(path: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def traps(path: Path, *names: str) -> list[str]:
    """Programs that say that they were run."""
    return [f"touch '{path}/ran-{name}'; false" for name in names]


def ran(path: Path) -> list[str]:
    return sorted(one.name for one in path.glob("ran-*"))


@pytest.mark.parametrize("way", ["ssh", "ext", "upload-pack", "helper", "environment"])
def test_nothing_is_fetched_however_the_repository_has_it(
    tmp_path: Path, folder: str, partial: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (trap,) = traps(tmp_path, way)
    settings = {
        "ssh": {"remote.origin.url": "ssh://nobody@nowhere/x", "core.sshCommand": trap},
        "ext": {"remote.origin.url": f"ext::sh -c touch% {tmp_path}/ran-ext"},
        "upload-pack": {"remote.origin.uploadpack": trap},
        "helper": {"remote.origin.vcs": "trap"},
        "environment": {"remote.origin.url": "ssh://nobody@nowhere/x"},
    }
    told(partial, "config", "protocol.allow", "always")
    for name in ("ssh", "ext", "file", "trap"):
        told(partial, "config", f"protocol.{name}.allow", "always")
    for name, value in settings[way].items():
        told(partial, "config", name, value)
    (tmp_path / "git-remote-trap").write_text(f"#!/bin/sh\n{trap}\n")
    (tmp_path / "git-remote-trap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if way == "environment":
        monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ssh")
        monkeypatch.setenv("GIT_SSH_COMMAND", trap)
    missing = told(partial, "rev-parse", "HEAD:sub/.gitignore")
    with pytest.raises(
        MissingError, match=f"(?s)partial clone and lacks object {missing}.*--refetch"
    ):
        take_snapshot(folder, os.fsencode(partial))
    assert ran(tmp_path) == []


@pytest.mark.parametrize("variable", ["GIT_NO_LAZY_FETCH", "GIT_ALLOW_PROTOCOL"])
def test_each_of_the_two_ways_to_forbid_it_is_enough(
    tmp_path: Path, partial: Path, variable: str
) -> None:
    """Earlier versions of git know only one of them."""
    (trap,) = traps(tmp_path, "ssh")
    told(partial, "config", "remote.origin.url", "ssh://nobody@nowhere/x")
    told(partial, "config", "protocol.ssh.allow", "always")
    told(partial, "config", "core.sshCommand", trap)
    other = {b"GIT_NO_LAZY_FETCH": b"0", b"GIT_ALLOW_PROTOCOL": b"ssh"}
    del other[variable.encode()]
    with pytest.raises(MissingError):
        git(["ls-files", "--others", "--exclude-standard"], cwd=bytes(partial), environ=other)
    assert ran(tmp_path) == []


def test_what_is_said_helps(tmp_path: Path, folder: str, partial: Path) -> None:
    with pytest.raises(MissingError) as caught:
        take_snapshot(folder, os.fsencode(partial))
    command = str(caught.value).partition("first run ")[2]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert take_snapshot(folder, os.fsencode(partial))


def test_a_commit_that_is_missing_is_not_fetched(tmp_path: Path, folder: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    told(tree, "init", "-q", "-b", "main")
    (tree / ".git" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    (trap,) = traps(tmp_path, "ssh")
    for name, value in {
        "core.repositoryformatversion": "1", "extensions.partialClone": "origin",
        "remote.origin.promisor": "true", "remote.origin.url": "ssh://nowhere/x",
        "core.sshCommand": trap,
    }.items():  # fmt: skip
        told(tree, "config", name, value)
    with pytest.raises(MissingError, match="is a partial clone"):
        take_snapshot(folder, os.fsencode(tree))
    assert ran(tmp_path) == []


def test_a_repository_within_fetches_nothing_either(
    tmp_path: Path, folder: str, partial: Path
) -> None:
    (trap,) = traps(tmp_path, "ssh")
    told(partial, "config", "remote.origin.url", "ssh://nowhere/x")
    told(partial, "config", "core.sshCommand", trap)
    top = tmp_path / "top"
    top.mkdir()
    told(top, "init", "-q")
    shutil.copytree(partial, top / "within")
    with pytest.raises(MissingError, match="top/within"):
        take_snapshot(folder, os.fsencode(top))
    assert ran(tmp_path) == []


@pytest.mark.parametrize("where", ["top", "within"])
def test_no_program_of_a_repository_runs(
    tmp_path: Path, folder: str, origin: Path, where: str
) -> None:
    """Neither when the tree is kept, nor when it is copied, nor when both go."""
    top, tree = trees(tmp_path, origin, where)
    settings = [
        "core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.pager", "core.editor",
        "core.askPass", "core.alternateRefsCommand", "credential.helper", "gpg.program",
        "diff.external", "diff.x.textconv", "diff.x.command", "merge.x.driver",
        "filter.x.clean", "filter.x.smudge", "filter.x.process", "uploadpack.packObjectsHook",
        "sequence.editor", "interactive.diffFilter", "trailer.x.command",
        "alias.ls-files", "alias.rev-parse", "alias.update-index",
    ]  # fmt: skip
    for name, trap in zip(settings, traps(tmp_path, *settings), strict=True):
        value = f"!{trap}" if name.startswith(("alias.", "credential.")) else trap
        told(tree, "config", name, value)
    hooks = tree / ".git" / "hooks"
    names = ("post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman")
    for name, trap in zip(names, traps(tmp_path, *names), strict=True):
        (hooks / name).write_text(f"#!/bin/sh\n{trap}\n")
        (hooks / name).chmod(0o755)
    flags = (
        "commit.gpgSign", "core.untrackedCache", "index.sparse", "core.splitIndex",
        "submodule.recurse", "extensions.worktreeConfig", "filter.x.required",
    )  # fmt: skip
    with (tree / ".git" / "config").open("a") as file:
        file.writelines(
            f"[{section}]\n{name} = true\n"
            for section, name in (flag.rsplit(".", 1) for flag in flags)
            if section != "filter.x"
        )
        file.write(f'[filter "x"]\nrequired = true\n[core]\nhooksPath = {hooks}\n')
    (tree / ".gitattributes").write_text("* filter=x diff=x merge=x ident text eol=crlf\n")
    (tree / "code.py").write_bytes(b"$Id$\n")
    (tmp_path / "ran-core.fsmonitor").unlink(missing_ok=True)  # by what this test did itself
    for one in tmp_path.glob("ran-*"):
        one.unlink()
    snapshot = take_snapshot(folder, os.fsencode(top))
    copy = Path(checkout(folder, snapshot, 1))
    assert (copy / tree.relative_to(top) / "code.py").read_bytes() == b"$Id$\n"
    assert remove_snapshots(folder, ()) == 1
    assert ran(tmp_path) == []


def test_a_work_tree_elsewhere_is_not_kept(tmp_path: Path, folder: str, origin: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "secret").touch()
    told(origin, "config", "core.worktree", str(tmp_path / "private"))
    with pytest.raises(UsageError, match=r"work tree elsewhere, in .*private.*core\.worktree"):
        take_snapshot(folder, os.fsencode(origin))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
@pytest.mark.parametrize("where", ["top", "within"])
def test_a_repository_of_another_user_is_not_read(
    tmp_path: Path, folder: str, origin: Path, where: str, own_configuration: Path
) -> None:
    top, tree = trees(tmp_path, origin, where)
    for path in (tree, tree / ".git"):
        os.chown(path, ANOTHER, ANOTHER)
    with pytest.raises(UntrustedError, match="belongs to another user") as caught:
        take_snapshot(folder, os.fsencode(top))
    command = str(caught.value).partition("if you trust that user: ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    assert str(tree) in own_configuration.read_text()
    assert take_snapshot(folder, os.fsencode(top))


def test_who_wants_git_to_look_for_no_bare_repository_can_freeze(
    folder: str, origin: Path, own_configuration: Path
) -> None:
    with own_configuration.open("a") as file:
        file.write("[safe]\nbareRepository = explicit\n")
    snapshot = take_snapshot(folder, os.fsencode(origin))
    assert checkout(folder, snapshot, 1)
    assert remove_snapshots(folder, ()) == 1


def test_traces_of_git_do_not_hide_what_is_wrong(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TRACE", "1")
    with pytest.raises(UsageError, match=r"\(git: fatal: not a git repository"):
        take_snapshot(folder, os.fsencode(tmp_path))
