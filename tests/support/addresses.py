"""Where a deployment is reached: settings without which the google backend does not start."""

ADDRESSES = {
    "ALLY_URL": "https://api.ally.example",
    "ALLY_DASHBOARD_URL": "https://dashboard.ally.example",
    "ALLY_OPERATIONS_URL": "https://operations.ally.example",
    "ALLY_IAP_AUDIENCE": "/projects/1/locations/europe-west2/services/ally-operations",
}
