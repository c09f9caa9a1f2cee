# Python 3.11 or newer and make are all that is needed; uv is used where it is there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run demo migrate test test-long test-pooled test-migrations test-replica check format attack faults siege audit soak bench client stress lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run ## Serve at http://127.0.0.1:8000, on an embedded Postgres unless DATABASE_URL is set
	@$(BIN)/tend serve --until-parent-exits

demo: $(VENV)/run ## Make a demo account with some tasks, and print its password
	@$(BIN)/tend demo

migrate: $(VENV)/run ## Bring the database to the newest migration
	@$(BIN)/tend migrate

test: $(VENV)/dev ## Run the tests, in parallel, but for the long ones; ARGS="-k search" chooses
	$(BIN)/pytest -n auto -m "not long" $(ARGS)

test-long: $(VENV)/dev ## Run the tests that start and kill servers, race a hundred times, or look at plans (four minutes)
	$(BIN)/pytest -n auto -m long $(ARGS)

test-pooled: $(VENV)/dev ## Run the tests through PgBouncer (Debian's pgbouncer, or TEST_POOLER), with and without prepared statements
	@$(BIN)/python -m tests.pooled $(ARGS)

check: $(VENV)/dev ## Format, lint, types, the rooms' imports, bandit, models against migrations, their SQL, the client's two halves
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit -q -r backend -c pyproject.toml
	$(BIN)/python -m tests.migrations_agree
	$(BIN)/python -m tests.migrations_linted
	$(BIN)/python -m tests.client_blocking --check

format: $(VENV)/dev ## Put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-migrations: $(VENV)/dev ## Migrate up, down and up while people work, on 200,000 tasks (about two minutes)
	@$(BIN)/python -m tests.migrations_under_load $(ARGS)

test-replica: $(VENV)/dev ## Write and read 10,000 times while a real replica is held back (about two minutes)
	@$(BIN)/python -m tests.replica_lag $(ARGS)

attack: $(VENV)/dev ## Ask every operation whatever the OpenAPI allows and does not (schemathesis, about five minutes)
	@$(BIN)/python -m tests.attack $(ARGS)

faults: $(VENV)/dev ## Break under load what breaks in production, and count what was lost (half an hour); ARGS=--list names the faults
	@$(BIN)/python -m tests.faults $(ARGS)
siege: $(VENV)/dev ## Beleaguer a server with 900 slow clients, and look how one other fares (three minutes)
	@$(BIN)/python -m tests.siege $(ARGS)

# ecdsa comes with python-jose, which is told to use cryptography instead (backend/security/tokens.py refuses to
# start otherwise); its timing flaw has no fix.
audit: $(VENV)/dev ## Look the packages up among known vulnerabilities (needs the internet)
	@$(BIN)/pip-audit -r requirements.lock --disable-pip --ignore-vuln PYSEC-2024-230 --ignore-vuln CVE-2024-23342

soak: $(VENV)/dev ## Have 300 users work for ten minutes, and write docs/soak.md; ARGS="--minutes 1" is a short run
	@$(BIN)/python -m benchmarks.soak $(ARGS)

stress: $(VENV)/dev ## Have devices synchronise while connections are killed, directly and through PgBouncer (two minutes)
	@PYTHONPATH=clients/python $(BIN)/python -m tests.sync_stress $(ARGS)

bench: $(VENV)/dev ## Measure, in less than ten minutes, and write docs/benchmarks.md; ARGS=--quick only tries it
	@$(BIN)/python -m benchmarks $(ARGS)

client: $(VENV)/dev ## Make the client's blocking half of its async one
	@$(BIN)/python -m tests.client_blocking

lock: ## Choose the newest packages that fit, and write them down with their hashes (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade pyproject.toml --group build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--upgrade pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove the virtual environment and caches; the data in .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The environments: what the lock files say, checked by hash, and the project itself in place.
$(VENV)/run: requirements.lock pyproject.toml
	@echo "Downloading the packages into $(VENV) (about a minute) …"
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/dev: requirements-dev.lock pyproject.toml
	@echo "Downloading the packages for development into $(VENV) (a minute or two) …"
	@$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/run

enough := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "Tend needs Python 3.11 or newer, and $(PYTHON) is not: say which, as in make PYTHON=python3.12 run"; exit 1; }

ifdef UV
install = $(enough); test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV) || exit 1; \
	uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r $(1) && \
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
install = $(enough); test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
