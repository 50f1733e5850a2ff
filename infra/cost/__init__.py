"""What the API costs to run: operations that tests count, times list prices, for any volume.

`operations.yaml` says what each route does, `traffic.yaml` who calls how, `prices.yaml` what Google
asks for it and where its limits are. `make cost` makes docs/cost.md and docs/cost.svg of them.
"""
