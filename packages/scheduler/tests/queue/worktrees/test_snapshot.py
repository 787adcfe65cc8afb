"""Snapshots of git work trees: what was there is kept, and the user's repository is only read."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles import examples
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.queue.worktrees.checkout import checkout
from simple_gpu_scheduler.queue.worktrees.cleaning import remove_copy, remove_snapshots
from simple_gpu_scheduler.queue.worktrees.snapshot import take_snapshot

pytestmark = pytest.mark.usefixtures("own_configuration")

AWKWARD = os.fsdecode(b'it\'s "\xc3\xa9" $HOME\n\\ \xff;*')
FILES = dict[str, tuple[str, bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The queue's."""
    path = tmp_path / "queue \u00e9"
    path.mkdir()
    return str(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with a commit."""
    path = tmp_path / AWKWARD
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "train.py").write_bytes(b"print(1)\n")
    (path / "sub").mkdir()
    (path / "sub" / "lib.py").write_bytes(b"x = 1\n")
    (path / ".gitignore").write_bytes(b"data/\n*.log\n")
    commit(path)
    return path


def git(path: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=path, capture_output=True, text=True, check=False, errors="replace"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(path: Path) -> None:
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "x")


def files(top: Path | str, *without: str) -> FILES:
    """All files and links, but for repositories' own."""
    found: FILES = {}
    for place, folders, names in os.walk(top):
        folders[:] = [one for one in folders if one != ".git"]
        for name in names + [one for one in folders if os.path.islink(os.path.join(place, one))]:
            path = os.path.join(place, name)
            key = os.path.relpath(path, top)
            if name == ".git" or key.split("/")[0] in without:
                continue
            if os.path.islink(path):
                found[key] = "link", os.fsencode(os.readlink(path))
            else:
                executable = bool(os.stat(path).st_mode & stat.S_IXUSR)
                found[key] = "program" if executable else "file", Path(path).read_bytes()
    return found


def everything(path: Path) -> dict[str, tuple[object, ...]]:
    """All of a folder to the byte, with times of change."""
    return {
        os.path.join(place, name): (
            os.lstat(os.path.join(place, name)).st_mtime_ns,
            Path(place, name).read_bytes()
            if not os.path.islink(os.path.join(place, name))
            else b"",
        )
        for place, _, names in os.walk(path)
        for name in names
    }


def copied(folder: str, tree: Path, job: int = 1) -> FILES:
    return files(checkout(folder, take_snapshot(folder, os.fsencode(tree)), job))


def test_what_is_there_is_kept_whether_git_knows_it_or_not(folder: str, tree: Path) -> None:
    (tree / "train.py").write_bytes(b"print(2)\n")  # not staged
    (tree / "staged.py").write_bytes(b"1")
    git(tree, "add", "staged.py")
    (tree / "staged.py").write_bytes(b"2")
    (tree / AWKWARD).write_bytes(b"\xff\0\r\n")
    (tree / "run").write_bytes(b"#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    (tree / "link").symlink_to("nowhere")
    (tree / "link to folder").symlink_to("sub")
    (tree / "sub" / "lib.py").unlink()
    (tree / "sub" / "lib.py").mkdir()
    (tree / "sub" / "lib.py" / "deep").write_bytes(b"")
    (tree / "git~1").write_bytes(b"a name that git fears")
    (tree / ".gitattributes").unlink(missing_ok=True)
    assert copied(folder, tree) == files(tree)


def test_files_that_are_tracked_although_they_are_ignored_are_kept(
    folder: str, tree: Path
) -> None:
    (tree / "kept.log").write_bytes(b"1")
    git(tree, "add", "-f", "kept.log")
    (tree / "lost.log").write_bytes(b"1")
    found = copied(folder, tree)
    assert found["kept.log"] == ("file", b"1")
    assert found["lost.log"] == ("link", os.fsencode(tree / "lost.log"))


def test_what_is_ignored_is_linked_to(folder: str, tree: Path) -> None:
    for path in ("data/x", "data/deep/y", "sub/z.log", "sub/__pycache__/lib.pyc"):
        (tree / path).parent.mkdir(exist_ok=True, parents=True)
        (tree / path).write_bytes(b"1")
    (tree / ".git" / "info" / "exclude").write_text("secret\n__pycache__\n")
    (tree / "secret").write_bytes(b"1")
    cwd = checkout(folder, take_snapshot(folder, os.fsencode(tree)), 1)
    found = files(cwd)
    assert {k: v[1] for k, v in found.items() if v[0] == "link"} == {
        name: os.fsencode(tree / name) for name in ("data", "sub/z.log", "secret")
    }
    (tree / "data" / "new").write_bytes(b"2")
    assert Path(cwd, "data", "new").read_bytes() == b"2"


def test_no_filter_changes_a_byte(folder: str, tree: Path, own_configuration: Path) -> None:
    with own_configuration.open("a") as file:
        file.write('[core]\nautocrlf = true\n[filter "lfs"]\nclean = false\nsmudge = false\n')
        file.write('required = true\n[filter "upper"]\nclean = tr a-z A-Z\nsmudge = false\n')
    (tree / ".gitattributes").write_text(
        "*.bin filter=lfs\n*.up filter=upper\n*.txt text eol=crlf ident\n"
        "*.utf working-tree-encoding=UTF-16\n"
    )
    (tree / "pointer.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tree / "large.bin").write_bytes(bytes(range(256)))
    (tree / "a.up").write_bytes(b"lower")
    (tree / "a.txt").write_bytes(b"$Id$ unix\n dos\r\n")
    (tree / "a.utf").write_bytes("\u00e9\n".encode("utf-16"))
    assert copied(folder, tree) == files(tree)


def test_the_users_repository_is_as_it_was_to_the_byte(
    folder: str, tree: Path, own_configuration: Path
) -> None:
    git(tree, "checkout", "-q", "-b", "other")
    (tree / "train.py").write_bytes(b"theirs\n")
    commit(tree)
    git(tree, "checkout", "-q", "main")
    (tree / "train.py").write_bytes(b"ours\n")
    commit(tree)
    subprocess.run(["git", "merge", "-q", "other"], cwd=tree, check=False, capture_output=True)
    (tree / "new").write_bytes(b"1")
    hook = tree / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{own_configuration.parent}/hooked'\n")
    hook.chmod(0o755)
    with own_configuration.open("a") as file:
        file.write("[core]\nhooksPath = .git/hooks\n")
    before = everything(tree)
    assert copied(folder, tree)["train.py"][1].startswith(b"<<<<<<<")
    assert everything(tree) == before
    assert not (own_configuration.parent / "hooked").exists()


def test_the_same_state_is_kept_once(folder: str, tree: Path) -> None:
    first = take_snapshot(folder, os.fsencode(tree))
    before = files(Path(folder, "snapshots.git", "objects"))
    os.utime(tree / "train.py")
    assert take_snapshot(folder, os.fsencode(tree)) == first
    assert files(Path(folder, "snapshots.git", "objects")) == before
    (tree / "train.py").write_bytes(b"print(2)\n")
    assert take_snapshot(folder, os.fsencode(tree)) != first


def test_what_changes_at_once_is_seen(folder: str, tree: Path) -> None:
    """Within the resolution of a file's times, and with its size."""
    for number in range(30):
        (tree / "train.py").write_bytes(b"print(%02d)\n" % number)
        found = copied(folder, tree, number)
        assert found["train.py"][1] == b"print(%02d)\n" % number


def test_a_folder_below_is_where_the_job_runs(folder: str, tree: Path) -> None:
    deep = tree / "sub" / AWKWARD
    deep.mkdir()
    snapshot = take_snapshot(folder, os.fsencode(deep))
    assert snapshot.isascii()
    cwd = checkout(folder, snapshot, 1)
    assert cwd.endswith(f"/1/sub/{AWKWARD}")
    assert os.path.isdir(cwd)


def test_submodules_and_other_repositories_within_are_kept(
    folder: str, tree: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "lib.py").write_bytes(b"1")
    (other / ".gitignore").write_bytes(b"cache\n")
    commit(other)
    git(tree, "submodule", "--quiet", "add", str(other), "libs/other")
    git(tree, "submodule", "--quiet", "add", str(other), "empty")
    commit(tree)
    git(tree, "submodule", "--quiet", "deinit", "empty")
    (tree / "libs" / "other" / "lib.py").write_bytes(b"changed")
    (tree / "libs" / "other" / "cache").write_bytes(b"")
    shutil.copytree(other, tree / "nested" / "one")
    (tree / "nested" / "one" / "new").write_bytes(b"new")
    before = everything(tree)
    found = copied(folder, tree)
    assert found.pop("libs/other/cache")[0] == "link"
    assert found == {k: v for k, v in files(tree).items() if k != "libs/other/cache"}
    assert everything(tree) == before


def test_a_repository_without_a_commit(folder: str, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q")
    assert copied(folder, tmp_path / "new", 1) == {}
    (tmp_path / "new" / "a").write_bytes(b"1")
    assert copied(folder, tmp_path / "new", 2) == {"a": ("file", b"1")}
    (tmp_path / "new" / "a").unlink()
    assert copied(folder, tmp_path / "new", 3) == {}


def test_a_work_tree_of_another_repository(folder: str, tree: Path, tmp_path: Path) -> None:
    git(tree, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    (tmp_path / "linked" / "train.py").write_bytes(b"print(3)\n")
    cwd = checkout(folder, take_snapshot(folder, os.fsencode(tmp_path / "linked")), 1)
    assert files(cwd) == files(tmp_path / "linked")
    assert git(Path(cwd), "rev-parse", "HEAD") == git(tree, "rev-parse", "HEAD")


def test_the_copy_knows_the_commit_and_what_differs(folder: str, tree: Path) -> None:
    (tree / "train.py").write_bytes(b"print(2)\n")
    cwd = Path(checkout(folder, take_snapshot(folder, os.fsencode(tree)), 1))
    assert git(cwd, "rev-parse", "HEAD") == git(tree, "rev-parse", "HEAD")
    assert git(cwd, "log", "--format=%s") == "x"
    assert git(cwd, "diff", "HEAD", "--name-only") == "train.py"
    git(cwd, "commit", "-q", "-a", "-m", "the job's own")
    assert git(tree, "log", "--format=%s") == "x"


def test_it_outlives_the_users_repository(folder: str, tree: Path) -> None:
    expected = files(tree)
    snapshot = take_snapshot(folder, os.fsencode(tree))
    shutil.rmtree(tree)
    assert files(checkout(folder, snapshot, 1)) == expected


def test_the_queue_itself_is_not_kept(tree: Path) -> None:
    folder = tree / "sub" / "queue"
    folder.mkdir()
    (folder / "queue.sqlite3").write_bytes(b"1")
    expected = files(tree)
    del expected["sub/queue/queue.sqlite3"]
    assert copied(str(folder), tree) == expected
    assert copied(str(folder), tree, 2) == expected


def test_much_that_is_not_tracked_is_told_of(folder: str, tree: Path) -> None:
    with (tree / "weights \udcff").open("wb") as file:
        file.truncate(150 << 20)
    said: list[str] = []
    take_snapshot(folder, os.fsencode(tree), said.append)
    (text,) = said
    assert "150 MiB in 1 files that git doesn't track, the largest is 'weights \\udcff'" in text
    assert ".gitignore" in text
    git(tree, "add", "-A")
    take_snapshot(folder, os.fsencode(tree), said.append)
    assert len(said) == 1


def test_what_git_would_be_told_by_a_hook_is_not_heeded(
    folder: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    assert copied(folder, tree) == files(tree)


def test_without_a_work_tree_it_is_said(folder: str, tmp_path: Path, tree: Path) -> None:
    with pytest.raises(UsageError, match=r"--freeze needs a git work tree.*not a git repository"):
        take_snapshot(folder, os.fsencode(tmp_path))
    with pytest.raises(UsageError, match="work tree"):
        take_snapshot(folder, os.fsencode(tree / ".git"))


def test_without_git_it_is_said(folder: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SgsError, match="git can't be run: No such file"):
        take_snapshot(folder, os.fsencode(tree))


def test_a_repository_that_is_damaged_is_said(folder: str, tree: Path) -> None:
    (tree / ".git" / "index").write_bytes(b"no index")
    with pytest.raises(SgsError, match="index"):
        take_snapshot(folder, os.fsencode(tree))


# the copy


def test_a_copy_is_made_once_and_is_the_jobs_own(folder: str, tree: Path) -> None:
    snapshot = take_snapshot(folder, os.fsencode(tree))
    first = Path(checkout(folder, snapshot, 1))
    (first / "train.py").write_bytes(b"written by the job")
    (first / "result").write_bytes(b"1")
    assert Path(checkout(folder, snapshot, 1)) == first
    assert (first / "result").exists()
    assert files(checkout(folder, snapshot, 2)) == files(tree)
    assert "result" not in files(tree)


def test_those_who_make_the_same_copy_at_once_agree(folder: str, tree: Path) -> None:
    snapshot = take_snapshot(folder, os.fsencode(tree))
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: checkout(folder, snapshot, 1), range(8)))
    assert len(found) == 1
    assert files(found.pop()) == files(tree)
    assert os.listdir(Path(folder, "frozen")) == ["1"]


def test_those_who_take_the_same_snapshot_at_once_agree(folder: str, tree: Path) -> None:
    for number in range(50):
        (tree / f"{number}").write_bytes(b"%d" % number)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: take_snapshot(folder, os.fsencode(tree)), range(8)))
    assert len(found) == 1
    assert files(checkout(folder, found.pop(), 1)) == files(tree)


def test_who_is_killed_over_it_leaves_nothing_in_the_way(folder: str, tree: Path) -> None:
    for number in range(200):
        (tree / f"{number}").write_bytes(b"%d" % number)
    snapshot = take_snapshot(folder, os.fsencode(tree))
    module = "simple_gpu_scheduler.queue.worktrees.checkout_main"
    torn = False
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-m", module, folder, snapshot, "1"]) as process:
            while process.poll() is None and not list(Path(folder).glob("frozen/1.*/*")):
                pass
            process.send_signal(signal.SIGKILL)
        torn = torn or bool(list(Path(folder).glob("frozen/1.*")))
        remove_copy(folder, 1) if Path(folder, "frozen", "1").exists() else None
    assert torn, "nobody was ever killed in time"
    done = subprocess.run(
        [sys.executable, "-m", module, folder, snapshot, "1"], check=True, capture_output=True
    )
    assert done.stdout == os.fsencode(f"{folder}/frozen/1/\n")
    assert files(f"{folder}/frozen/1") == files(tree)
    assert os.listdir(Path(folder, "frozen")) == ["1"]


def test_who_is_killed_over_taking_one_leaves_nothing_in_the_way(folder: str, tree: Path) -> None:
    for number in range(300):
        (tree / f"{number}").write_bytes(b"%d" % number)
    code = (
        "import os, sys; from simple_gpu_scheduler.queue.worktrees.snapshot import take_snapshot; "
        "take_snapshot(sys.argv[1], os.getcwdb())"
    )
    for number in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", code, folder], cwd=tree, start_new_session=True
        ) as process:
            while process.poll() is None and len(list(os.walk(folder))) < 4 + number * 4:
                pass
            os.killpg(process.pid, signal.SIGKILL)
    assert copied(folder, tree) == files(tree)


# what isn't needed any more


def test_a_snapshot_that_nobody_needs_goes_and_the_others_stay(folder: str, tree: Path) -> None:
    first = take_snapshot(folder, os.fsencode(tree / "sub"))
    (tree / "train.py").write_bytes(b"print(2)\n")
    second = take_snapshot(folder, os.fsencode(tree))
    assert remove_snapshots(folder, {first, second}) == 0
    assert remove_snapshots(folder, {first}) == 1
    assert checkout(folder, first, 1)
    with pytest.raises(SgsError, match="the snapshot isn't there any more"):
        checkout(folder, second, 2)
    assert os.listdir(Path(folder, "frozen")) == ["1"]
    assert take_snapshot(folder, os.fsencode(tree)) == second
    assert files(checkout(folder, second, 2)) == files(tree)


def test_a_copy_goes_with_all_that_the_job_made_of_it(folder: str, tree: Path) -> None:
    (tree / "data").mkdir()
    (tree / "data" / "x").write_bytes(b"1")
    cwd = Path(checkout(folder, take_snapshot(folder, os.fsencode(tree)), 1))
    (cwd / "sub" / "deep").mkdir()
    (cwd / "sub" / "deep").chmod(0)
    (cwd / "sub").chmod(0o500)
    assert remove_copy(folder, 1)
    assert not cwd.exists()
    assert (tree / "data" / "x").exists()
    assert not remove_copy(folder, 1)


NAMES = (
    st.binary(min_size=1, max_size=8)
    .map(lambda name: os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"0")))
    .filter(lambda name: name not in (".", "..") and not name.lower().startswith(".git"))
)
CONTENT = st.tuples(st.sampled_from(["file", "program", "link"]), st.binary(min_size=1))


@settings(max_examples=examples(0.1), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, CONTENT, max_size=4), st.dictionaries(NAMES, CONTENT, max_size=4))
def test_whatever_is_in_a_tree_comes_back(
    folder: str, tmp_path: Path, first: FILES, second: FILES
) -> None:
    tree = tmp_path / "any"
    for content in (first, second):
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        git(tree, "init", "-q")
        for name, (kind, data) in content.items():
            write(tree / name, kind, data)
        remove_copy(folder, 1)
        assert copied(folder, tree) == files(tree)


def write(path: Path, kind: str, data: bytes) -> None:
    if kind == "link":
        path.symlink_to(os.fsdecode(data.replace(b"\0", b"0")))
    else:
        path.write_bytes(data)
        path.chmod(0o755 if kind == "program" else 0o644)
