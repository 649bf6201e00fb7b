"""A host may fork whenever it likes: the parent goes on, and the child can do everything."""

import io
import os
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from codec import devices, models
from codec import threads as of_threads
from codec.mixing import bands as mixing
from codec.network import engines
from codec.network.engines import engine_of, plain_engine
from codec.network.fast import FastEngine
from codec.pasts.past import recognised
from codec.threads import lasting
from codec.tiling.planes import pixels_to_planes
from tests.conftest import CPU, TINY, TINY_PALETTE, decoded_jpeg, picture, smooth

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
SECONDS = 120  # that a child may take, on a busy machine
PIXELS = picture(200, 200, 3)  # so many tiles that threads share a step


@pytest.fixture(autouse=True)
def several_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")


def forked(work):
    """The process id of a child that ends well if the work does."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def assert_ends(pid):
    """Well, and in time."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


def coded(pixels=PIXELS, model=TINY):
    data = codec.compress(pixels, model=model, device=CPU, past=False)
    assert (codec.decode(data, model=model, device=CPU) == pixels).all()
    return data


def encoded():
    return codec.compress(PIXELS[:40, :40], model=TINY, device=CPU, past=False)


def decoded(data):
    return codec.decode(data, model=TINY, device=CPU).tobytes()


def coded_in_a_child():
    assert_ends(forked(coded))


def test_children_after_use():
    """Several at once, a child's child, and children again."""
    data = coded()
    assert isinstance(engine_of(models.load(TINY, "rgb", CPU), 9), FastEngine)
    assert of_threads._helpers.count

    def work():
        assert coded() == data
        coded_in_a_child()

    for pid in [forked(work) for _ in range(3)]:
        assert_ends(pid)
    assert coded() == data
    coded_in_a_child()


def test_pools_of_forked_processes():
    data = coded()
    with get_context("fork").Pool(2) as pool:
        assert pool.map_async(decoded, [data] * 3).get(SECONDS) == [PIXELS.tobytes()] * 3
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor:
        assert list(executor.map(decoded, [data] * 3, timeout=SECONDS)) == [PIXELS.tobytes()] * 3


def test_the_plugin_in_children(only_tiny_models):
    """As a data loader opens pictures."""
    codec.register_igpt_opener()
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "IGPT")

    def opened():
        with Image.open(io.BytesIO(stream.getvalue())) as image:
            assert (np.asarray(image) == PIXELS).all()

    opened()
    for pid in [forked(opened) for _ in range(2)]:
        assert_ends(pid)


def test_drawings_and_pasts_in_children(monkeypatch):
    monkeypatch.setattr(mixing, "MAX_BAND_PIXELS", 20 * 70)
    jpeg = decoded_jpeg(smooth(80, 90))
    planes = pixels_to_planes(PIXELS[:70, :70])

    def work():
        payloads = mixing.encode(planes, mixing.SHALLOW, lambda _: None) or []
        assert len(payloads) == 4
        assert (mixing.decode(payloads, (70, 70), 3, mixing.SHALLOW, lambda _: None) == planes).all()
        assert recognised(jpeg) is not None

    work()
    for pid in [forked(work) for _ in range(2)]:
        assert_ends(pid)


def test_published_checkpoints_in_children():
    pixels = picture(3, 4, 3)
    data = coded(pixels, TINY_PALETTE)

    def work():
        assert coded(pixels, TINY_PALETTE) == data

    for pid in [forked(work) for _ in range(2)]:
        assert_ends(pid)


def test_forked_while_another_thread_works():
    data, pids, over = coded(), [], threading.Event()

    def fork():
        for _ in range(3):
            time.sleep(0.05)
            pids.append(forked(lambda: decoded(data)))
        over.set()

    thread = threading.Thread(target=fork)
    thread.start()
    while not over.is_set():
        assert coded() == data
    thread.join()
    for pid in pids:
        assert_ends(pid)


def test_plain_torch_in_children(monkeypatch):
    """torch's threads stay behind, and it would wait for them."""
    monkeypatch.setattr(engines, "_fastest", lambda network, tiles: plain_engine(network))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = encoded()

        def work():
            assert encoded() == data
            assert torch.get_num_threads() == 1
            with ThreadPoolExecutor(1) as pool:  # each thread asks torch for its number
                assert pool.submit(encoded).result() == data

        for pid in [forked(work) for _ in range(2)]:
            assert_ends(pid)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torch_that_only_the_host_used(monkeypatch):
    """Before the fork; the child's first network is plain."""
    code = (
        "import torch; torch.set_num_threads(2); x = torch.rand(512, 512); x @ x; from tests.test_fork import *\n"
        "def work():\n"
        "    engines._fastest = lambda network, tiles: plain_engine(network); encoded()\n"
        "assert_ends(forked(work)); assert torch.get_num_threads() == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=2 * SECONDS)


def test_what_the_compiler_locks():
    """While another thread compiles a fork waits, so that the child finds the lock free."""
    lock = pytest.importorskip("numba.core.compiler_lock").global_compiler_lock
    begun = threading.Event()

    def compiling():
        with lock:
            begun.set()
            time.sleep(0.2)

    def work():
        with lock:
            pass

    thread = threading.Thread(target=compiling)
    thread.start()
    begun.wait()
    pid = forked(work)
    thread.join()
    assert_ends(pid)
    work()


def test_what_another_thread_is_making():
    begun, over = threading.Event(), threading.Event()

    class Owner:
        @lasting
        def made(self):
            begun.set()
            over.wait()
            return 7

    owner = Owner()
    thread = threading.Thread(target=lambda: owner.made)
    thread.start()
    begun.wait()

    def work():
        over.set()
        assert owner.made == 7

    pid = forked(work)
    over.set()
    thread.join()
    assert_ends(pid)
    assert owner.__dict__["made"] == 7


def test_the_gpu_stays_with_the_parent(monkeypatch):
    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    assert devices.device_named("auto") == "cpu"
    with pytest.raises(codec.IgptError, match="spawn"):
        devices.device_named("cuda")


def test_numba_starts_no_threads_and_ours_end_with_the_process():
    coded()  # everything is compiled
    code = (
        "import sys, threading, numba; from tests.conftest import *; assert 'torch' not in sys.modules\n"
        "data = codec.compress(picture(70, 70, 3), model=TINY, device=CPU); codec.decode(data, model=TINY, device=CPU)\n"
        "assert 'codec.network.kernels' in sys.modules and 'torch' not in sys.modules\n"
        "assert sum(thread.name == 'igpt' for thread in threading.enumerate()) == 2\n"
        "try:\n    print(numba.threading_layer())\nexcept ValueError:\n    pass\n"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=SECONDS)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
