"""What Google names itself, alerts and the like: found by its title and changed, never doubled."""

from pathlib import Path
from typing import Any

import pytest

from infra.applying import Run
from infra.steps import load
from infra.values import values
from tests.support.google_cloud import GoogleCloud

ALERT = "Answers are slow"


@pytest.mark.xdist_group("gcloud")
def test_what_people_changed_by_hand_is_mended_in_place_and_what_is_theirs_is_left(
    google_cloud: GoogleCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in google_cloud.environment.items():
        monkeypatch.setenv(name, value)
    google_cloud.project("ally-staging").services |= {"billingbudgets"}
    found = values("staging", commit="0" * 40)
    few = {**found, "policies": [each for each in found["policies"] if each["title"] == ALERT]}
    steps = [each for each in load(few, tmp_path) if each and each[0].phase == "watching"]

    Run({}, lambda _: None).deploy(steps)
    made = watched(google_cloud)
    (channel,) = (name for name in made if "/notificationChannels/" in name)
    (alert,) = (name for name in made if "/alertPolicies/" in name)
    (budget,) = (name for name in made if "/budgets/" in name)
    (dashboard,) = (name for name in made if "/dashboards/" in name)
    assert made[alert]["notificationChannels"] == [channel]
    assert made[budget]["notificationsRule"]["monitoringNotificationChannels"] == [channel]

    made[alert]["severity"] = "WARNING"
    made[alert]["conditions"][0]["conditionThreshold"]["thresholdValue"] = 9e9
    made[alert]["notificationChannels"] = []
    made[budget]["thresholdRules"] = made[budget]["thresholdRules"][:1]
    gone = made[dashboard]["mosaicLayout"]["tiles"].pop()
    theirs = {"name": f"{alert}0", "displayName": "Theirs", "conditions": []}
    google_cloud.resources[f"monitoring/{alert}0"] = theirs
    Run({}, lambda _: None).deploy(steps)
    mended = watched(google_cloud)
    assert set(mended) == {*made, f"{alert}0"}
    condition = mended[alert]["conditions"][0]["conditionThreshold"]
    assert condition["thresholdValue"] == 2000
    assert mended[alert]["notificationChannels"] == [channel]
    assert [each["thresholdPercent"] for each in mended[budget]["thresholdRules"]] == [
        *(0.5, 0.9, 1.0, 1.0)
    ]
    assert mended[dashboard]["mosaicLayout"]["tiles"][-1] == gone
    assert mended[f"{alert}0"] == theirs


def watched(google_cloud: GoogleCloud) -> dict[str, Any]:
    """Return what there is of what watches, by the names that Google gave."""
    return {
        key.partition("/")[2]: resource
        for key, resource in google_cloud.resources.items()
        if key.startswith(("monitoring/", "billingbudgets/"))
    }
