"""Models that take long do not delay liveness probes and the models served next to them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from foreground import serving
from prometheus_samples import scrape, value
from toy_models import make_archive

from continuous_training.serving.models.inference_time import FAST_SECONDS, SLOW_SECONDS, InferenceTime
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.request_limits import MAX_ROWS_PER_REQUEST
from tests.attacks.large_bodies import MANY_ROWS, TOO_MANY_ROWS

PROBE_SECONDS = 0.05
"""The time in which a probe must be answered. The tests check the median, because the machine may be busy."""


def predict(url: str, model: str, *x: float) -> requests.Response:
    return requests.post(f"{url}/predict/{model}", json={"x": x}, timeout=60)


def median_seconds(send: Callable[[], requests.Response], count: int = 15) -> float:
    durations = []
    for _ in range(count):
        start = time.monotonic()
        assert send().ok
        durations.append(time.monotonic() - start)
    return sorted(durations)[count // 2]


def live(url: str) -> Callable[[], requests.Response]:
    return lambda: requests.get(f"{url}/v2/health/live", timeout=60)


def wait_until_received(url: str, response: Future[requests.Response] | None = None) -> None:
    """Wait until the server has received a request, or does not respond because a model blocks it."""
    end = time.monotonic() + 20
    with suppress(requests.Timeout):
        while not value(scrape(url, timeout=0.5), "serving_held_bytes"):
            if response is not None and response.done():
                break
            assert time.monotonic() < end
            time.sleep(0.02)


@contextmanager
def in_background(url: str, send: Callable[[], requests.Response]) -> Iterator[Future[requests.Response]]:
    """Send a request, which the server has received when the block begins."""
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(send)
        wait_until_received(url, response)
        yield response


def test_a_slow_model_delays_neither_probes_nor_another_model(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, name="slow", slow=1, scale=3)
    with serving(slow, make_archive(tmp_path)) as server:
        with in_background(server.url, lambda: predict(server.url, "slow", 1)) as response:
            assert median_seconds(live(server.url)) < PROBE_SECONDS
            assert median_seconds(lambda: predict(server.url, "toy", 1)) < 0.5
            assert not response.done()
        assert response.result().json() == {"scale": 3, "y": [3.0]}


def test_requests_that_arrive_during_a_slow_batch_form_the_next_batch(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, slow=0.5)
    with serving(slow) as server, ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda number: predict(server.url, "toy", number), range(20)))
        assert [response.json()["y"] for response in responses] == [[2.0 * number] for number in range(20)]
        samples = scrape(server.url)
        assert value(samples, "serving_batch_requests_sum", model="toy") == 20
        assert value(samples, "serving_batch_requests_count", model="toy") < 15


def test_a_probe_is_answered_while_a_fast_model_hangs(tmp_path: Path) -> None:
    """The golden requests are fast, so the inference runs in the thread of the event loop."""
    with serving(make_archive(tmp_path, hangs_on=7), options=("--stall", "4")) as server:

        def hang() -> None:
            with pytest.raises(requests.ConnectionError):
                predict(server.url, "toy", 7)

        client = threading.Thread(target=hang)
        client.start()
        wait_until_received(server.url)
        assert median_seconds(live(server.url)) < PROBE_SECONDS
        response = live(server.url)()
        assert (response.json(), response.headers["connection"]) == ({"live": True}, "close")
        assert response.headers["x-request-id"]
        with pytest.raises(requests.Timeout):
            requests.get(f"{server.url}/v2/health/ready", timeout=0.3)
        assert server.process.wait(20) == 1
        client.join()


def test_a_request_that_is_accepted_while_a_model_blocks_is_answered_afterwards(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, slow_on=7, seconds=1.5)
    with (
        serving(archive) as server,
        in_background(server.url, lambda: predict(server.url, "toy", 7)) as blocking,
    ):
        with ThreadPoolExecutor(5) as pool:
            responses = list(pool.map(lambda number: predict(server.url, "toy", number), range(5)))
        assert [response.json()["y"] for response in responses] == [[2.0 * number] for number in range(5)]
        assert blocking.result().json()["y"] == [14.0]


def test_a_hung_model_in_its_thread_ends_the_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow = make_archive(tmp_path, slow=0.05, hangs_on=7)
    with serving(slow, options=("--stall", "0.5"), log=log) as server:
        with pytest.raises(requests.ConnectionError):
            predict(server.url, "toy", 7)
        assert server.process.wait(20) == 1
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert "a batch of toy has taken more than 0.5 s" in line["message"]
    assert "in inference" in line["traceback"]


def test_requests_behind_a_slow_batch_time_out(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, slow=3)
    with serving(slow, options=("--timeout", "0.2", "--batch-rows", "1")) as server:
        with in_background(server.url, lambda: predict(server.url, "toy", 1)) as first:
            start = time.monotonic()
            assert predict(server.url, "toy", 2).status_code == 503
            assert time.monotonic() - start < 2.5
        assert first.result().ok


def test_the_queue_of_a_slow_model_does_not_fill_the_queue_of_another(tmp_path: Path) -> None:
    slow = make_archive(tmp_path, name="slow", slow=1)
    with serving(slow, make_archive(tmp_path), options=("--max-waiting", "1")) as server:
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(predict, server.url, "slow", 1) for _ in range(8)]
            time.sleep(0.3)
            assert predict(server.url, "toy", 1).json()["y"] == [2.0]
        assert {future.result().status_code for future in futures} == {200, 503}


@pytest.mark.parametrize("path", MANY_ROWS)
def test_a_large_request_is_rejected_by_its_rows_and_delays_no_one_for_seconds(
    tmp_path: Path, path: str
) -> None:
    with serving(make_archive(tmp_path)) as server:
        with in_background(
            server.url, lambda: requests.post(server.url + path, data=MANY_ROWS[path], timeout=60)
        ) as response:
            assert median_seconds(live(server.url)) < PROBE_SECONDS
        assert response.result().status_code == 400
        assert response.result().json()["error"] == TOO_MANY_ROWS
        largest = predict(server.url, "toy", *[1] * MAX_ROWS_PER_REQUEST)
        assert largest.json()["y"] == [2.0] * MAX_ROWS_PER_REQUEST


@pytest.mark.parametrize(("slow", "expected"), [(0.0, False), (0.05, True)])
def test_a_model_is_measured_when_it_is_loaded(tmp_path: Path, slow: float, expected: bool) -> None:
    repository = ModelRepository(tmp_path / "server")
    archive = make_archive(tmp_path, slow=slow)
    repository.load(archive.path, archive.digest)
    assert repository.is_slow("toy") is expected
    assert not repository.is_slow("unknown")


def test_a_model_changes_its_thread_after_several_batches() -> None:
    inference_time = InferenceTime(0.001)
    inference_time.observe(2 * SLOW_SECONDS)
    assert not inference_time.is_slow
    for _ in range(20):
        inference_time.observe(2 * SLOW_SECONDS)
    assert inference_time.is_slow
    inference_time.observe(0.001)
    assert inference_time.is_slow
    for _ in range(40):
        inference_time.observe(FAST_SECONDS / 2)
    assert not inference_time.is_slow
