"""The real Cloud Tasks client against a server that fails, dawdles, doubles and drops."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import types

from shared import clock, ids
from shared.backends import BackendError, RejectedError, Ticket, UnavailableError
from shared.backends.google import tasks
from shared.backends.google.tasks import CloudTasks as Queue
from shared.settings import SettingError, load
from tests.support.addresses import ADDRESSES
from tests.support.cloud_tasks import ACCOUNT, LARGEST, QUEUE, Act, CloudTasks
from tests.support.faulty import Drops, Faulty, Says
from tests.support.waiting import until

T = TypeVar("T")
TOKEN = {"service_account_email": ACCOUNT}
GOOGLE = {
    "ALLY_BACKEND": "google",
    "GOOGLE_CLOUD_PROJECT": "p",
    **ADDRESSES,
}
WORKER = "https://ally-worker-123456789012.europe-west2.run.app"


@pytest.fixture
def google() -> Iterator[CloudTasks]:
    running = CloudTasks()
    yield running
    running.stop()


def ticket(**changes: object) -> Ticket:
    made = Ticket("test", ids.scatter("job"), 0, clock.now())
    return made._replace(**changes)  # type: ignore[arg-type]  # names of its fields


def use(google: CloudTasks, action: Callable[[Queue], Awaitable[T]], *, worker: str = WORKER) -> T:
    """Do something with a queue of the product's."""

    async def act() -> T:
        queue = Queue(QUEUE, worker=worker, account=ACCOUNT, address=google.address)
        try:
            return await action(queue)
        finally:
            await queue.close()

    return asyncio.run(act())


def enqueue(google: CloudTasks, *tickets: Ticket, worker: str = WORKER) -> None:
    async def each(queue: Queue) -> None:
        for one in tickets:
            await queue.enqueue(one)

    use(google, each, worker=worker)


def test_a_task_asks_the_worker_to_do_the_job_in_the_name_of_our_account(
    google: CloudTasks,
) -> None:
    one = ticket(space="live", attempts=3, at=clock.now() + timedelta(days=2))
    enqueue(google, one)
    ((name, task),) = google.tasks.items()
    assert name == f"{QUEUE}/tasks/{one.job.removeprefix('job_')}-3"
    asked = task.http_request
    assert asked.url == f"{WORKER}/worker/jobs"
    assert asked.http_method == types.HttpMethod.POST
    assert asked.body == b'{"space":"live","id":"%s"}' % one.job.encode()
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.oidc_token.service_account_email == ACCOUNT
    assert asked.oidc_token.audience == WORKER
    assert abs(task.schedule_time - one.at) < timedelta(milliseconds=1)


def test_the_same_ticket_makes_one_task_and_a_later_attempt_another(google: CloudTasks) -> None:
    one = ticket()
    enqueue(google, one, one, one._replace(attempts=1))
    assert len(google.tasks) == 2


@pytest.mark.parametrize("bad", ["refuse", "lose the answer", "dawdle"])
def test_a_call_that_fails_once_is_made_again_within_its_second(
    google: CloudTasks, bad: Act
) -> None:
    google.acts = itertools.chain([bad], itertools.repeat("take"))
    enqueue(google, ticket())
    assert google.asked == 2
    assert len(google.tasks) == 1


@pytest.mark.parametrize("bad", ["refuse", "dawdle"])
def test_what_goes_on_failing_is_told_as_unavailable(google: CloudTasks, bad: Act) -> None:
    google.acts = itertools.repeat(bad)
    with pytest.raises(UnavailableError):
        enqueue(google, ticket())
    assert 2 <= google.asked <= 50


def test_what_lies_further_ahead_than_a_task_may_is_left_to_the_sweep(google: CloudTasks) -> None:
    now = clock.now()
    enqueue(google, ticket(at=now + timedelta(days=400)))
    assert google.asked == 0
    enqueue(google, ticket(at=now + tasks.FURTHEST - timedelta(minutes=1)))
    assert len(google.tasks) == 1


def test_what_google_refuses_is_told_as_our_fault(google: CloudTasks) -> None:
    google.loopback = False
    with pytest.raises(RejectedError):
        enqueue(google, ticket(), worker="http://127.0.0.1:1")
    assert google.tasks == {}


@pytest.mark.parametrize("error", [RejectedError, UnavailableError])
def test_no_error_of_the_queue_quotes_what_was_sent(
    google: CloudTasks, error: type[BackendError]
) -> None:
    one = ticket()
    if error is RejectedError:
        google.loopback = False
    else:
        google.acts = itertools.repeat("refuse")
    with pytest.raises(error) as raised:
        enqueue(google, one, worker="http://127.0.0.1:1")
    assert one.job not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ALLY_QUEUE", ""),
        ("ALLY_QUEUE", "ally"),
        ("ALLY_WORKER_URL", ""),
        ("ALLY_WORKER_URL", "http://worker.example"),
        ("ALLY_WORKER_URL", "https://worker.example/"),
        ("ALLY_WORKER_ACCOUNT", "ally-caller"),
    ],
)
def test_the_google_backend_does_not_start_without_a_queue_and_a_worker(
    google: CloudTasks, name: str, wrong: str
) -> None:
    sound = GOOGLE | google.environment(WORKER)
    load(sound)
    with pytest.raises(SettingError, match=name):
        load({**sound, name: wrong})


def test_only_a_stand_in_may_ask_a_worker_that_is_not_reached_over_tls(google: CloudTasks) -> None:
    sound = GOOGLE | google.environment("http://127.0.0.1:8080")
    load(sound)
    with pytest.raises(SettingError, match="ALLY_WORKER_URL"):
        load({**sound, "ALLY_CLOUD_TASKS_HOST": ""})


# --- What the stand-in refuses, as Google does ----------------------------------------------------


def create(google: CloudTasks, **changes: object) -> None:
    """Make a task by the client itself."""

    async def act(queue: Queue) -> None:
        task = {
            "name": f"{QUEUE}/tasks/x",
            "schedule_time": clock.now(),
            "http_request": {
                "url": f"{WORKER}/worker/jobs",
                "body": b"{}",
                "oidc_token": TOKEN,
            },
            **changes,
        }
        await queue._client().create_task(parent=QUEUE, task=types.Task(task), retry=None)

    use(google, act)


def test_the_stand_in_takes_a_sound_task_and_its_name_once(google: CloudTasks) -> None:
    create(google)
    with pytest.raises(exceptions.AlreadyExists):
        create(google)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": f"{QUEUE}/tasks/a.b"},
        {"name": "projects/p/locations/l/queues/q/tasks/x"},
        {"schedule_time": clock.now() + timedelta(days=31)},
        {"http_request": {"url": WORKER, "body": b"x" * LARGEST, "oidc_token": TOKEN}},
        {"http_request": {"url": "http://worker.example/", "oidc_token": TOKEN}},
        {"http_request": {"url": WORKER}},
    ],
    ids=["name", "queue", "too far", "too large", "not https", "no token"],
)
def test_the_stand_in_refuses_what_google_does(
    google: CloudTasks, changes: dict[str, object]
) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        create(google, **changes)


def test_the_stand_in_delivers_until_it_is_told_200(google: CloudTasks) -> None:
    with Faulty([Says(503), Drops(), Says(200)]) as worker:
        one = ticket(attempts=2)
        enqueue(google, one, worker=worker.url)
        until(google.idle, "deliveries do not end")
        assert google.answers == [503, 0, 200]
        assert [sent.target for sent in worker.sent] == ["/worker/jobs"] * 3
        headers = worker.sent[-1].headers
    assert headers["x-cloudtasks-queuename"] == "ally"
    assert headers["x-cloudtasks-taskname"] == f"{one.job.removeprefix('job_')}-2"
    assert headers["x-cloudtasks-taskretrycount"] == "2"
    assert headers["authorization"].startswith("Bearer ")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(("act", "times"), [("double", 2), ("lose", 0), ("take", 1)])
def test_the_stand_in_doubles_and_loses_when_it_is_told_to(
    google: CloudTasks, act: Act, times: int
) -> None:
    google.acts = itertools.repeat(act)
    with Faulty([Says(200)]) as worker:
        enqueue(google, ticket(), worker=worker.url)
        until(google.idle, "deliveries do not end")
    assert google.answers == [200] * times
