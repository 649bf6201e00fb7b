"""Work side by side: in order, with a share of the threads, and given up together."""

import subprocess
import sys
import threading
import time

import pytest

from codec.threads import Stopped, checkpoint, side_by_side, threads, use_threads


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_results_come_in_order(count, most):
    def slow_at_first(k):
        time.sleep(0.01 * (count - k))
        return k * k

    assert list(side_by_side(slow_at_first, range(count), min(most, count))) == [k * k for k in range(count)]


def test_each_has_its_share_of_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delitem(sys.modules, "torch")
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
    code = (
        "from codec.threads import *; use_threads(1); assert threads() == 1; import torch; assert torch.get_num_threads() == threads() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    use_threads(0)
