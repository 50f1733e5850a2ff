"""What carries work: queues of tasks, schedules, and topics with their subscriptions."""

import re

from tests.support.google_cloud.kinds import Kind, kinds, merge, on
from tests.support.google_cloud.state import Refusal, State, kept
from tests.support.google_cloud.wire import Call, Json

CRON = re.compile(r"(?:[\d*/,-]+ ){4}[\d*/,-]+")


def seconds(duration: str) -> float:
    """Return the seconds of a duration as Google writes it: `60s`."""
    return float(duration.removesuffix("s"))


def bounded(what: str, value: float, least: float, most: float) -> None:
    """Refuse what is too little or too much."""
    if not least <= value <= most:
        raise Refusal(400, f"{what} must be between {least:g} and {most:g}.")


def token_for(state: State, call: Call, target: Json, address: str) -> None:
    """Refuse a token of an account that is not there, or over a connection that all can read."""
    token = target.get("oidcToken")
    if token is None:
        return
    project = call.name.split("/")[1]
    state.find("iam", f"projects/{project}/serviceAccounts/{token['serviceAccountEmail']}")
    if not address.startswith("https://"):
        raise Refusal(400, "A token is sent to https addresses alone.")


def queue_set(_state: State, _call: Call, _name: str, queue: Json) -> Json:
    usual_rates = {"maxDispatchesPerSecond": 500, "maxConcurrentDispatches": 1000}
    rates: Json = usual_rates | queue.get("rateLimits", {})
    bounded("maxDispatchesPerSecond", rates["maxDispatchesPerSecond"], 0, 500)
    bounded("maxConcurrentDispatches", rates["maxConcurrentDispatches"], 1, 5000)
    usual = {"maxAttempts": 100, "minBackoff": "0.100s", "maxBackoff": "3600s", "maxDoublings": 16}
    tries: Json = usual | queue.get("retryConfig", {})
    bounded("minBackoff", seconds(tries["minBackoff"]), 0, seconds(tries["maxBackoff"]))
    return {
        "rateLimits": {"maxBurstSize": 100, **rates},
        "retryConfig": tries,
        "state": queue.get("state", "RUNNING"),
    }


class Queues(Kind):
    """Queues, whose names are not free again for a week."""

    def create(self, state: State, call: Call, collection: str) -> Json:
        name = call.body["name"]
        if f"deleted/{name}" in state.payloads:
            raise Refusal(400, "The queue cannot be created because a queue with this name existed")
        return super().create(state, call, collection)

    def delete(self, state: State, name: str) -> Json:
        state.payloads[f"deleted/{name}"] = b""
        return super().delete(state, name)


def schedule_set(state: State, call: Call, _name: str, job: Json) -> Json:
    """Fill in what a schedule is by default. Its next time is Google's to say."""
    if not CRON.fullmatch(job.get("schedule", "")):
        raise Refusal(400, "Schedule or time zone is invalid.")
    deadline = job.get("attemptDeadline", "180s")
    bounded("attemptDeadline", seconds(deadline), 15, 1800)
    target = job["httpTarget"]
    token_for(state, call, target, target["uri"])
    headers = {"User-Agent": "Google-Cloud-Scheduler", **target.get("headers", {})}
    tries = {"maxRetryDuration": "0s", "minBackoffDuration": "5s", "maxBackoffDuration": "3600s"}
    return {
        "attemptDeadline": deadline,
        "httpTarget": {**target, "headers": headers},
        "retryConfig": {**tries, "maxDoublings": 5, **job.get("retryConfig", {})},
        "state": job.get("state", "ENABLED"),
        "userUpdateTime": state.now(),
    }


kinds(
    Queues("cloudtasks", "projects/*/locations/*/queues", "name", queue_set, queue_set),
    Kind("cloudscheduler", "projects/*/locations/*/jobs", "name", schedule_set, schedule_set),
)


def topic_set(_state: State, topic: Json) -> Json:
    for region in topic.get("messageStoragePolicy", {}).get("allowedPersistenceRegions", ()):
        if not re.fullmatch(r"[a-z]+-[a-z]+\d", region):
            raise Refusal(400, f"{region} is no region of Google Cloud.")
    return topic


def subscription_set(state: State, call: Call, subscription: Json) -> Json:
    """Fill in what a subscription is by default; without a word it ends after a month unused."""
    state.find("pubsub", subscription["topic"])
    filled = {
        "ackDeadlineSeconds": 10,
        "messageRetentionDuration": "604800s",
        "expirationPolicy": {"ttl": "2678400s"},
        "state": "ACTIVE",
        **subscription,
    }
    bounded("ackDeadlineSeconds", filled["ackDeadlineSeconds"], 10, 600)
    bounded("messageRetentionDuration", seconds(filled["messageRetentionDuration"]), 600, 2678400)
    if "retryPolicy" in filled:
        policy = filled["retryPolicy"]
        bounded("maximumBackoff", seconds(policy["maximumBackoff"]), 0, 600)
        most = seconds(policy["maximumBackoff"])
        bounded("minimumBackoff", seconds(policy["minimumBackoff"]), 0, most)
    push = filled.get("pushConfig", {})
    token_for(state, call, push, push.get("pushEndpoint", ""))
    return filled


@on("PUT", "pubsub", "projects/{project}/topics/{topic}")
def create_topic(state: State, call: Call, project: str, topic: str) -> Json:
    return _create(state, f"projects/{project}/topics/{topic}", topic_set(state, kept(call.body)))


@on("PUT", "pubsub", "projects/{project}/subscriptions/{subscription}")
def create_subscription(state: State, call: Call, project: str, subscription: str) -> Json:
    name = f"projects/{project}/subscriptions/{subscription}"
    return _create(state, name, subscription_set(state, call, kept(call.body)))


def _create(state: State, name: str, made: Json) -> Json:
    if f"pubsub/{name}" in state.resources:
        raise Refusal(409, f"Resource already exists in the project (resource={name}).")
    state.resources[f"pubsub/{name}"] = {**made, "name": name}
    return state.resources[f"pubsub/{name}"]


@on("PATCH", "pubsub", "projects/{project}/topics/{topic}")
def update_topic(state: State, call: Call, project: str, topic: str) -> Json:
    name = f"projects/{project}/topics/{topic}"
    merged = merge(state.find("pubsub", name), kept(call.body["topic"]), call.body["updateMask"])
    state.resources[f"pubsub/{name}"] = topic_set(state, merged)
    return merged


@on("PATCH", "pubsub", "projects/{project}/subscriptions/{subscription}")
def update_subscription(state: State, call: Call, project: str, subscription: str) -> Json:
    name = f"projects/{project}/subscriptions/{subscription}"
    sent = kept(call.body["subscription"])
    merged = merge(state.find("pubsub", name), sent, call.body["updateMask"])
    state.resources[f"pubsub/{name}"] = subscription_set(state, call, merged)
    return state.resources[f"pubsub/{name}"]


kinds(*(Kind("pubsub", f"projects/*/{each}") for each in ("topics", "subscriptions")))
