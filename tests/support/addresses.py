"""Where a deployment is reached, and what it reaches people by: settings without which the google
backend does not start."""

ADDRESSES = {
    "ALLY_URL": "https://api.ally.example",
    "ALLY_DASHBOARD_URL": "https://dashboard.ally.example",
    "ALLY_OPERATIONS_URL": "https://operations.ally.example",
    "ALLY_IAP_AUDIENCE": "/projects/1/locations/europe-west2/services/ally-operations",
    "ALLY_SMTP": "smtp://127.0.0.1:1",  # nobody listens
    "ALLY_MAIL_FROM": "Ally <no-reply@ally.example>",
}
