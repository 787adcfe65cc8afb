"""What is on the screen, as a function of what was seen; and that it fits, whatever that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.gpu_status import GpuStatuses
from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.cli.gpus import table as gpus_report
from simple_gpu_scheduler.cli.queue.jobs import how_it_ended
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.queue.records import STATES, QueuedJob
from simple_gpu_scheduler.top.screen.board import Board, Formatters, render_screen
from simple_gpu_scheduler.top.screen.details import JobFacts, render_details
from simple_gpu_scheduler.top.screen.gpu_table import (
    GpuHolders,
    find_unused,
    jobs_by_index,
    render_gpus,
    short_name,
)
from simple_gpu_scheduler.top.screen.header import Server, divide_lines, render_header
from simple_gpu_scheduler.top.screen.job_table import (
    TableContext,
    gpus_text,
    join_ranges,
    render_jobs,
    state_text,
)
from simple_gpu_scheduler.top.screen.keys import render_help
from simple_gpu_scheduler.top.screen.log_text import log_lines
from simple_gpu_scheduler.top.screen.scroll import Scroll
from simple_gpu_scheduler.top.screen.spans import (
    STYLES,
    Span,
    columns_of,
    fit,
    justify,
    line,
    plain_text,
    wrap,
)
from simple_gpu_scheduler.top.screen.state import QueueState

NOW_S = 1_700_000_000.0
CONTEXT = TableContext(NOW_S, how_it_ended)
FORMATTERS = Formatters(how_it_ended, gpus_report.short_names, gpus_report.table)

awkward = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\n\r\t\x1b\x07\x9b\u202e训é\u0301\U0001f600"),
    ),
    max_size=40,
)
printables = awkward.map(lambda text: "".join(one for one in text if one.isprintable()))


def entry(job: int = 1, state: str = "queued", **facts: object) -> QueuedJob:
    one = QueuedJob(
        id=job, state=state, command=b"python train.py", context=1, gpus=1, units=GPU_UNITS,
        memory_mib=None, auto_memory=False, priority=0, blockers=0, not_before_s=None,
        timeout_s=None, tries=1, name="", group="", key=None, submitted_s=NOW_S - 100, attempt=0,
        started_s=None, ended_s=None, exit_code=None, signal=None, reason="", gpu_names=(),
    )  # fmt: skip
    if state == "running":
        one = one._replace(attempt=1, started_s=NOW_S - 65, gpu_names=("0",))
    return one._replace(**facts)


entries = st.builds(
    entry,
    st.integers(1, 10**12), st.sampled_from(STATES), command=st.binary(max_size=60), name=awkward,
    group=awkward, priority=st.integers(-(10**9), 10**9), blockers=st.integers(0, 3),
    gpu_names=st.lists(awkward, max_size=9).map(tuple), started_s=st.none() | st.floats(0, 2e9),
    attempt=st.integers(0, 5), reason=awkward,
)  # fmt: skip
memories = st.none() | st.integers(0, 10**6)
gpus = st.builds(
    Gpu, st.integers(0, 99), awkward, awkward, memory_total_mib=memories,
    memory_used_mib=memories, utilisation_percent=st.none() | st.integers(0, 100),
    temperature_c=st.none() | st.integers(-20, 120), fault=st.just("") | awkward,
    parent=st.sampled_from(["", "GPU-x"]),
)  # fmt: skip
processes = st.builds(GpuProcess, st.integers(1, 10**7), awkward, awkward, memories)
occupancies = st.builds(
    Occupancy,
    st.sampled_from(["free", "shared", "leased", "used", "fault"]),
    st.lists(
        st.builds(
            LeaseRecord, awkward, st.just(1000), awkward, st.integers(1, 10**7), awkward,
            st.floats(0, 2e9), st.just(("GPU-a",)), st.just(GPU_UNITS),
        ),
        max_size=2,
    ).map(tuple),
    st.lists(processes, max_size=3).map(tuple),
)  # fmt: skip


def test_the_table() -> None:
    jobs = [
        entry(7, "running", group="lr", name="first"),
        entry(12, priority=3, gpus=2),
        None,
        entry(13, blockers=2),
        entry(104, "failed", exit_code=3, started_s=NOW_S - 60, ended_s=NOW_S, attempt=1),
    ]
    titles, lines = render_jobs(jobs, CONTEXT._replace(marked={13}), 80, 1)
    assert (
        plain_text(titles).rstrip() == "   ID  state           GPUs   time  pri  name      command"
    )
    assert [plain_text(one).rstrip() for one in lines] == [
        "    7  running         0     1m05s       lr/first  python train.py",
        ">  12  queued          (2)       -    3            python train.py",
        "    ...",
        " * 13  after 2 jobs    (1)       -                 python train.py",
        "  104  failed: exit 3  (1)   1m00s                 python train.py",
    ]
    assert {span.style for span in lines[1]} == {"selected"}
    assert [span.style for span in lines[0] if "running" in span.text] == ["good"]


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (entry(), "queued"),
        (entry(blockers=1), "after 1 job"),
        (entry(not_before_s=NOW_S + 90 * 86400), "from 12 Feb"),
        (entry(not_before_s=NOW_S - 1), "queued"),
        (entry(state="held"), "held"),
        (entry(state="running"), "running"),
        (entry(state="running", attempt=3), "running, try 3"),
        (entry(9, "running"), "stopping"),
        (entry(state="failed", exit_code=3), "failed: exit 3"),
        (entry(state="failed", signal=9), "failed: KILL"),
        (entry(state="failed", reason="timed out\x1b[1m"), r"failed: timed out\x1b[1m"),
        (entry(state="cancelled", reason="cancelled"), "cancelled"),
        (entry(state="lost", reason="the machine was restarted"), "lost"),
    ],
)
def test_states_in_words(one: QueuedJob, text: str) -> None:
    assert state_text(one, CONTEXT._replace(stopping={9})) == text


def test_gpus_in_a_cell() -> None:
    assert join_ranges(["0", "1", "2", "3", "5", "7", "8", "MIG-a"]) == "0-3,5,7,8,MIG-a"
    assert gpus_text(entry(units=GPU_UNITS // 4)) == "(1/4)"
    assert gpus_text(entry(state="running", gpu_names=("MIG-12345678-90ab",))) == "MIG-12345678"


@given(st.lists(entries | st.none(), max_size=5), st.integers(20, 200), st.integers(0, 30))
def test_every_line_of_the_table_is_as_wide_as_the_screen(
    jobs: list[QueuedJob | None], width: int, shift: int
) -> None:
    _, lines = render_jobs(jobs, CONTEXT._replace(shift=shift), width, 0)
    assert len(lines) == len(jobs)
    for one in lines:
        assert columns_of(one) == width
        assert plain_text(one).isprintable()
        assert {span.style for span in one} <= STYLES.keys()


def cards(number: int) -> list[tuple[Gpu, Occupancy]]:
    return [
        (Gpu(place, f"GPU-{place}", "NVIDIA H100", memory_total_mib=81920, memory_used_mib=8192),
         Occupancy("free"))
        for place in range(number)
    ]  # fmt: skip


def lease(user: str, kind: str = "job", uid: int = 7) -> LeaseRecord:
    return LeaseRecord("x", uid, user, 41, kind, 0.0, ("GPU-0",), GPU_UNITS)


def test_who_has_which_card() -> None:
    card = Gpu(0, "GPU-0", memory_total_mib=81920, memory_used_mib=81920, utilisation_percent=97)
    stranger = GpuProcess(9, "bob", "python", 2048)
    unseen = GpuProcess(77, "", "", None)
    seen = [
        (card, Occupancy("leased", (lease("me"),))),
        (card, Occupancy("leased", (lease("anna", "notebook", 8),), (stranger,))),
        (card, Occupancy("used", (), (stranger, unseen))),
        (card, Occupancy("used", (), (unseen,))),
        (card, Occupancy("used")),
        (card, Occupancy("free", (), (stranger,))),
        (card._replace(fault="it fell off"), Occupancy("fault")),
        (card, Occupancy("shared", (lease("me"),))),
        (card, Occupancy("free")),
    ]
    holders = GpuHolders({0: [12], 7: [3, 4, 5]}, 7, frozenset({8}))
    lines = render_gpus(seen, list("abcdefghi"), holders, 100, 9)
    assert [plain_text(one).rstrip()[36:].lstrip("% 97") for one in lines] == [
        "job 12",
        "anna's notebook; bob: python 2 GiB",
        "used by bob: python 2 GiB and 1 more",
        "used by process 77",
        "used by somebody unseen",
        "free",
        "fault: it fell off",
        "jobs 3-5 (room for more)",
        "free (not the queue's)",
    ]


def test_more_cards_than_lines() -> None:
    names = [str(place) for place in range(12)]
    lines = render_gpus(cards(12), names, GpuHolders({}, 0), 80, 6)
    assert [plain_text(one)[:3].strip() for one in lines] == ["0", "1", "2", "3", "4", "5"]
    assert [plain_text(one)[40:44].strip() for one in lines] == ["6", "7", "8", "9", "10", "11"]
    lines = render_gpus(cards(12), names, GpuHolders({}, 0), 80, 4)
    assert plain_text(lines[-1]).rstrip() == " and 6 more: press g"
    lines = render_gpus(cards(12), names, GpuHolders({}, 0), 50, 4)
    assert len(lines) == 4
    assert plain_text(lines[-1]).rstrip() == " and 9 more: press g"


def test_jobs_and_slots_by_the_place_of_their_card() -> None:
    seen = [*cards(2), (Gpu(7, "MIG-ab-1", parent="GPU-9"), Occupancy("free"))]
    assert jobs_by_index(seen, [(5, ("0", "1")), (6, ("MIG-ab",)), (7, ("nowhere",))]) == {
        0: [5], 1: [5], 2: [6],
    }  # fmt: skip
    assert find_unused(seen, ("1",)) == {0, 2}
    assert find_unused(seen, ()) == frozenset()


@given(st.lists(st.tuples(gpus, occupancies), max_size=9), st.integers(40, 200), st.integers(0, 9))
def test_every_line_of_the_cards_is_as_wide_as_the_screen(
    seen: list[tuple[Gpu, Occupancy]], width: int, most: int
) -> None:
    names = gpus_report.short_names([gpu for gpu, _ in seen])
    lines = render_gpus(seen, names, GpuHolders({0: [1, 2]}, 1000), width, most)
    assert len(lines) <= most
    for one in lines:
        assert columns_of(one) == width
        assert plain_text(one).isprintable()


def board(total: int = 3, **facts: object) -> Board:
    shown = tuple(entry(job) for job in range(1, min(total, 30) + 1))
    seen = QueueState(
        {"queued": total}, total, Scroll(), 0, shown, frozenset(), (), Server(), (),
        shown[0] if shown else None, JobFacts(b"/home", 0), None,
    )  # fmt: skip
    return Board("host", seen, GpuStatuses(tuple(cards(8))))._replace(**facts)


def test_a_whole_screen_of_80_by_24() -> None:
    shown = render_screen(board(), FORMATTERS, NOW_S, 80, 24)
    lines = [plain_text(one).rstrip() for part in shown for one in part]
    assert lines[0].startswith(" host  8 of 8 GPUs free  3 queued")
    assert lines[1] == " 0  H100  █········· 8.0/80.0G            free"
    assert lines[9] == "  ID  state   GPUs  time  command" + " " * 34 + "all 1-3 of 3"
    assert lines[10] == ">  1  queued  (1)      -  python train.py"
    assert lines[12] == "   3  queued  (1)      -  python train.py"
    assert lines[13] == "── job 1 queued " + "─" * 64
    assert lines[15] == " waits      it is next; it waits for GPUs"
    assert len(render_screen(board(), FORMATTERS, NOW_S, 80, 24).header) == 1


@given(
    st.builds(board, st.integers(0, 10**6)),
    st.integers(30, 200),
    st.integers(5, 60),
    printables,
    st.integers(0, 10**6),
)
def test_every_screen_is_filled_and_no_more(
    one: Board, width: int, lines: int, text: str, cursor: int
) -> None:
    scroll = Scroll(cursor, max(0, cursor - 2))
    one = one._replace(filter=text, message=Span(text, "warn"), scroll=scroll)
    shown = render_screen(one, FORMATTERS, NOW_S, width, lines)
    assert sum(map(len, shown)) < lines, "the last line is left for the keys"
    for part in shown:
        assert all(columns_of(each) <= width for each in part)
    for each in (*shown.header, *shown.titles, *shown.rule):
        assert columns_of(each) == width


@given(st.integers(4, 100), st.integers(0, 40), st.integers(0, 10**6))
def test_the_screen_is_divided(lines: int, number: int, jobs: int) -> None:
    found = divide_lines(lines, number, jobs)
    assert min(found) >= 0
    assert sum(found) == lines - 4
    if lines >= 16:
        assert found.jobs >= 3
        assert found.log >= 3
        assert found.gpus >= min(number, 4)


def test_what_is_wrong_comes_first() -> None:
    def text(counts: dict[str, int], server: Server, width: int = 80) -> str:
        return plain_text(render_header("h", counts, server, cards(2), NOW_S, width))

    assert "no server runs" in text({"queued": 1}, Server(runs=False))
    assert "no server runs" not in text({"succeeded": 1}, Server(runs=False))
    assert "drained: nothing starts" in text({"queued": 1}, Server(drained=True))
    assert "the queue is empty" in text({}, Server())
    many = {"running": 1, "queued": 2, "succeeded": 3, "failed": 4, "lost": 5}
    assert "4 failed" in text(many, Server(), 60)
    assert "3 succeeded" not in text(many, Server(), 60)
    assert "3 succeeded" in text(many, Server(), 120)


@pytest.mark.parametrize(
    ("one", "facts", "server", "why"),
    [
        (entry(), JobFacts(before=0), Server(), "it is next; it waits for GPUs"),
        (entry(), JobFacts(before=1), Server(), "1 job has an earlier place"),
        (
            entry(),
            JobFacts(before=9),
            Server(drained=True),
            "the queue is drained (sgs server resume)",
        ),
        (entry(), JobFacts(), Server(runs=False), "no server runs (sgs server start)"),
        (entry(blockers=2), JobFacts(), Server(), "it depends on 2 jobs"),
        (entry(state="held"), JobFacts(), Server(), "it is held (sgs release)"),
    ],
)
def test_why_a_job_waits(one: QueuedJob, facts: JobFacts, server: Server, why: str) -> None:
    assert f" waits      {why}" in [
        plain_text(x) for x in render_details(one, facts, server, CONTEXT, 80)
    ]


def test_a_job_of_several_lines_and_all_its_facts() -> None:
    one = entry(
        state="failed", command=b"set -e\n\tpython x.py \xff", group="lr", attempt=2, tries=3,
        started_s=NOW_S - 60, ended_s=NOW_S, exit_code=1, reason="job 3 said so", timeout_s=90.0,
        memory_mib=10240, peak_vram_mib=9000, gpu_names=("0", "1", "2"),
    )  # fmt: skip
    text = "\n".join(
        plain_text(x)
        for x in render_details(one, JobFacts(b"/a b\n", log="/l"), Server(), CONTEXT, 60)
    )
    for part in (
        " state      failed: exit 1", " because    exit 1; job 3 said so",
        " command    set -e\n                python x.py \\xff", " in         /a b\\n",
        " GPUs       0-2, 10 GiB of each, had 8.79 GiB, priority 0", "attempt 2 of 3",
        ", after 1m00s", " timeout    90 s", " log        /l",
    ):  # fmt: skip
        assert part in text


@given(entries, st.integers(20, 120))
def test_details_fit(one: QueuedJob, width: int) -> None:
    for each in render_details(one, JobFacts(one.command), Server(), CONTEXT, width):
        assert columns_of(each) <= width
        assert plain_text(each).isprintable()


@given(st.lists(st.builds(Span, printables), max_size=4), st.integers(0, 60), printables)
def test_lines_are_cut_and_filled(spans: list[Span], width: int, right: str) -> None:
    assert columns_of(fit(spans, width)) == width
    found = justify(spans, line(right), width)
    assert columns_of(found) == width


@given(printables, st.integers(2, 30))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join(lines) == text
    assert all(columns_of(line(one)) <= width for one in lines)
    words = wrap(text, width, at_words=True)
    assert "".join(words).replace(" ", "") == text.replace(" ", "")
    assert all(columns_of(line(one)) <= width for one in words)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"a\r\n\r\nb\r\n", ["a", "", "b"]),
        (b" 10%|#  |\r 50%|## |\r", [" 50%|## |"]),
        (b" 10%\r 50%\r     \r100%\ndone\n", ["100%", "done"]),
        (b"1/9 [=]\b\b\b\b\b\b\b2/9 [#]\n", ["2/9 [#]"]),
        (
            b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b(B\x1b7.",
            ["red link ."],
        ),
        (b"\x1b]0;title\x07text \x1b[?25l\x1b[2K\x1b[3A!", ["text !"]),
        ("\x9b31mred \x9d0;title\x9c\u202eevil".encode(), [r"red \u202eevil"]),
        (b"\xff caf\xc3\xa9 \xe8\xae\xad\x00\x07", [r"\xff café 训\x00\x07"]),
        (b"a\tb", ["a       b"]),
        (b"an escape at the end \x1b", [r"an escape at the end \x1b"]),
    ],
)
def test_what_jobs_print(data: bytes, lines: list[str]) -> None:
    assert log_lines(data) == lines


def test_the_rest_of_a_line_at_the_beginning_is_passed_over() -> None:
    assert log_lines(b"est of it\nnext", whole=False) == ["next"]
    assert log_lines("é".encode()[1:] + b" 10%\r 20%", whole=False) == [" 20%"]


parts_of_output = st.one_of(
    st.sampled_from([b"\x1b", b"[", b"]", b"31m", b"\r", b"\b", b"\x07", b"\n", b"\t"]),
    st.sampled_from([b"a", b"\xc2\x9b", b"\xff", b"\xe8\xae"]),
    st.binary(max_size=4),
)


@given(st.lists(parts_of_output, max_size=30).map(b"".join), st.booleans())
def test_nothing_that_is_printed_steers_the_terminal(data: bytes, whole: bool) -> None:
    assert all(one.isprintable() for one in log_lines(data, whole=whole))


def test_the_help_fits() -> None:
    rows = [("↑ k", "select a job"), ("c", "cancel the job")]
    lines = [plain_text(one) for one in render_help(rows, 40)]
    assert lines[:2] == ["  ↑ k  select a job", "  c    cancel the job"]
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", "H100 MIG 3g.40gb"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada Generation"),
        ("x\x1b[1m", r"x\x1b[1m"),
        ("", ""),
    ],
)
def test_names_of_cards(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_screen_costs_the_same_however_long_the_queue_is() -> None:
    """Far from what was read nothing is laid out but the lines on the screen."""
    one = board(10**15, scroll=Scroll(5 * 10**14, 5 * 10**14 - 3))
    shown = render_screen(one, FORMATTERS, NOW_S, 80, 24)
    assert len(shown.jobs) == 7
    assert all("..." in plain_text(each) for each in shown.jobs)
