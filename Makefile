.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

ENVIRONMENT ?= staging
NODE_MODULES := tests/tools/node_modules

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/run  ## Serve the whole API on https://localhost:8443 (ARGS="--port 9443" for another)
	@$(BIN)/python -m compileall -q functions shared  # without, each start takes twice as long
	@exec $(BIN)/python -m functions $(ARGS)

test: $(VENV)/dev tools  ## Run all tests (ARGS="-k words" for some)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

soak: $(VENV)/dev  ## Run the destructive tests, the oracles and the campaigns at full size (an hour)
	@ALLY_SEED=$${ALLY_SEED:-$$(date +%s)} ALLY_KILLS=$${ALLY_KILLS:-200} ALLY_EXAMPLES=$${ALLY_EXAMPLES:-5} ALLY_HOSTILE=$${ALLY_HOSTILE:-20000} \
	  ALLY_PROGRAMS=$${ALLY_PROGRAMS:-300} ALLY_FAULTS=$${ALLY_FAULTS:-1000} ALLY_LOAD=$${ALLY_LOAD:-20000} \
	  ALLY_LOOKS=1 $(BIN)/python -m pytest --timeout=3600 tests/test_kill.py tests/test_job_kills.py \
	  tests/test_usage_oracle.py tests/test_usage_isolation.py tests/test_metering.py tests/test_audit_events.py \
	  tests/test_races.py tests/test_lost_answers.py tests/test_paging_oracle.py tests/test_queries.py \
	  tests/test_hostile.py tests/test_hostile_pages.py tests/test_isolation.py tests/test_end_user_isolation.py \
	  tests/test_deploy.py tests/test_docs_in_a_browser.py tests/test_pages_in_a_browser.py $(ARGS)

soak-deploy: $(VENV)/dev  ## Deploy all that is declared, not few of each kind, to the stand-in for Google (four minutes)
	@ALLY_DEPLOY=1 $(BIN)/python -m pytest tests/test_deploy.py tests/test_releases.py tests/test_deployed_work.py $(ARGS)

test-firebase: $(VENV)/dev tests/firebase/node_modules  ## Run the tests against the real Firebase emulator (300 MB, fetched once)
	@$(BIN)/python -m pytest tests/firebase $(ARGS)

tests/firebase/node_modules: tests/firebase/package.json
	@cd tests/firebase && npm install && touch node_modules

check-contract: $(VENV)/dev  ## Ask schemathesis, with all its checks, whether the server keeps its document's word
	@ALLY_CONTRACT=$${ALLY_CONTRACT:-15} ALLY_CONTRACT_LEAST=$${ALLY_CONTRACT_LEAST:-5000} ALLY_CONTRACT_PHASES=$${ALLY_CONTRACT_PHASES:-examples,coverage,fuzzing,stateful} \
	  $(BIN)/python -m pytest -s tests/test_contract.py $(ARGS)

check: $(VENV)/dev  ## Format, lint, types and the import rule, as CI does
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/dev  ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/dev  ## Measure ratios of CPU time and of starts, each pair in one run (ARGS="--only NAME --rounds N")
	@$(BIN)/python -m tests.bench $(ARGS)

release: openapi  ## Keep the OpenAPI document as that of the last release, for later ones to be held against
	@cp functions/docs/openapi.json docs/released/openapi.json

screenshots: $(VENV)/dev  ## Photograph all pages into screenshots/ (ARGS="--only errors" for some)
	@$(BIN)/python -m tests.screenshots $(ARGS)

openapi: $(VENV)/dev  ## Write the OpenAPI documents anew from the code
	@$(BIN)/python -m functions.openapi

lock: $(VENV)/dev  ## Write the requirements files anew from pyproject.toml
	@for extra in "" -local -dev; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links --no-annotate $${extra:+--extra $${extra#-}} \
	    $$([ "$$extra" = -dev ] && echo --extra local) pyproject.toml -o requirements$$extra.txt; done

tools: $(NODE_MODULES)/.package-lock.json  ## Install what the tests run of npm, where there is npm

plan: $(VENV)/dev  ## Say what deploying would change on Google Cloud, as gcloud commands (ENVIRONMENT=production; staging if not said)
	@$(BIN)/python -m infra plan $(ENVIRONMENT) $(ARGS)

deploy: $(VENV)/dev  ## Make the Google Cloud project what this commit declares, then release it (ARGS=--help for parts of it)
	@$(BIN)/python -m infra deploy $(ENVIRONMENT) $(ARGS)

rollback: $(VENV)/dev  ## Let each service's revision before the one that serves now serve again
	@$(BIN)/python -m infra rollback $(ENVIRONMENT) $(ARGS)

destroy: $(VENV)/dev  ## Take away services, gateway and balancer, after asking; data, keys and logs stay
	@$(BIN)/python -m infra destroy $(ENVIRONMENT) $(ARGS)

cost: $(VENV)/dev  ## Price a million requests, by route and by volume, into docs/cost.md and docs/cost.svg (ARGS="--requests 1e6")
	@$(BIN)/python -m infra.cost $(ARGS)

clean:  ## Remove the environment, the tools and the local state
	rm -rf $(VENV) .ally $(NODE_MODULES)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.13 …"; exit 1; }
	@echo "Making the environment in $(VENV) (once; it takes a minute) …"
	@$(PYTHON) -m venv $(VENV)

$(NODE_MODULES)/.package-lock.json: tests/tools/package-lock.json
	@if command -v npm >/dev/null; then cd tests/tools && npm ci --silent; fi  # the tests say what is missing

$(VENV)/run: requirements-local.txt | $(BIN)/python
	@$(PIP) -r $< && touch $@

$(VENV)/dev: requirements-dev.txt | $(BIN)/python
	@$(PIP) -r $< && touch $@ $(VENV)/run

.PHONY: help cost plan deploy rollback destroy run test soak soak-deploy test-firebase check format bench screenshots openapi release tools lock clean check-contract
