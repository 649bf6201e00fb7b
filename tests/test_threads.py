"""Work side by side: in order, with a share of the threads, and given up together."""

import os
import subprocess
import sys
import threading
import time

import pytest

from codec import threads as of_threads
from codec.threads import Stopped, checkpoint, side_by_side, spread, threads


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_results_come_in_order(count, most):
    def slow_at_first(k):
        time.sleep(0.01 * (count - k))
        return k * k

    assert list(side_by_side(slow_at_first, range(count), min(most, count))) == [k * k for k in range(count)]


def test_each_has_its_share_of_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert list(side_by_side(lambda _: threads(), range(5), 3)) == [2, 2, 2, 3, 3]
    assert list(side_by_side(lambda _: threads(), range(4), 3)) == [2, 2, 2, 7]
    assert threads() == 7


def test_an_error_ends_the_others():
    ended = []
    begun = threading.Barrier(2)

    def work(k):
        begun.wait()
        if k == 0:
            raise ZeroDivisionError
        try:
            while True:
                checkpoint()
                time.sleep(0.001)
        except Stopped:
            ended.append(k)
            raise

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(work, range(2), 2))
    assert ended == [1]


def test_who_stops_asking_stops_the_work():
    def work(k):
        for _ in range(1000 * k):
            checkpoint()
            time.sleep(0.001)
        return k

    results = side_by_side(work, range(4), 4)
    start = time.perf_counter()
    assert next(results) == 0
    results.close()
    assert time.perf_counter() - start < 0.9
    checkpoint()


def test_use_threads():
    """torch gets their number, too, whether it is there already or not; a library's user is left alone."""
    code = (
        "import os; from codec.network.engines import plain_engine\n"
        "from codec.threads import *; before = dict(os.environ); use_threads(1); assert threads() == 1\n"
        "import torch; torch.set_num_threads(2); from tests.conftest import *; plain_engine(IntegerImageGPT.load(TINY, CPU))\n"
        "assert torch.get_num_threads() == 1; use_threads(3); assert torch.get_num_threads() == threads() == 3\n"
        "use_threads(0); assert threads() == 5; assert os.environ == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "5"})
    code = (
        "from codec.network.engines import plain_engine; import torch; torch.set_num_threads(2);"
        "from tests.conftest import *; plain_engine(IntegerImageGPT.load(TINY, CPU));"
        "assert torch.get_num_threads() == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("parts", [0, 1, 2, 7])
def test_every_part_is_done_once(monkeypatch, parts, most):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    done, workers = [], set()

    def work(first, last):
        time.sleep(0.005)
        done.extend(range(first, last))
        workers.add(threading.get_ident())

    spread(work, parts, most)
    assert sorted(done) == list(range(parts))
    assert len(workers) <= max(1, min(parts, most, 4))


def test_parts_are_done_at_the_same_time(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    together = threading.Barrier(3)
    spread(lambda first, last: together.wait(10), 3, 3)


def test_what_no_helper_begins_is_done_all_the_same(monkeypatch):
    """They are busy, or cannot be had."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    over, begun, done = threading.Event(), threading.Barrier(3), []

    def long(first, last):
        begun.wait(10)
        over.wait(10)

    other = threading.Thread(target=spread, args=(long, 2, 2))
    other.start()
    begun.wait(10)
    spread(lambda first, last: done.append((first, last, threading.get_ident())), 4, 2)
    over.set()
    other.join()

    def refused(thread):
        raise RuntimeError

    monkeypatch.setattr(of_threads, "_helpers", of_threads._Helpers())
    monkeypatch.setattr(threading.Thread, "start", refused)
    spread(lambda first, last: done.append((first, last, threading.get_ident())), 4, 2)
    assert of_threads._helpers.waiting.empty()
    own = threading.get_ident()
    assert done == [(0, 2, own), (2, 4, own)] * 2


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_what_a_part_raises_is_raised_when_all_are_done(monkeypatch, wrong):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    done = []

    def work(first, last):
        if first == wrong:
            raise ZeroDivisionError
        time.sleep(0.02)
        done.append(first)

    with pytest.raises(ZeroDivisionError):
        spread(work, 3, 3)
    assert sorted(done) == [k for k in range(3) if k != wrong]
