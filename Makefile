# `make` lists the targets. Each one sets up what it needs.

PORT ?= 8000
PYTHON ?= python3
# The arena, and every example with rules of its own name.
comma := ,
empty :=
space := $(empty) $(empty)
EXAMPLES := $(foreach folder,$(wildcard examples/*),$(wildcard $(folder)/$(notdir $(folder)).py))
GAMES ?= $(subst $(space),$(comma),$(strip game $(EXAMPLES)))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: help setup run cluster restart-cluster test test-fast marks lint fuzz soak release format docs echo bench compare report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: $(READY) ## make the virtual environment with everything in it

$(READY): setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "tickstorm: no $(PYTHON) here; Python 3.11 or newer is needed (Debian: apt install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tickstorm: Python 3.11 or newer is needed, this is $$($(PYTHON) -V); name another with PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "tickstorm: this Python has no venv (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,bench,redis]'
	@touch $@

run: setup ## serve the game, with bots, at http://127.0.0.1:8000 (PORT, BOTS, …: see README)
	@PORT=$(PORT) GAMES=$(GAMES) $(BIN)/python -m tickstorm.config --check
	@echo "tickstorm: http://127.0.0.1:$(PORT) (Ctrl-C ends it)"
	@case "$${ADMIN_TOKEN:+set}$${HOST:-127.0.0.1}" in 127.0.0.1|localhost|::1) \
		export ADMIN_TOKEN=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(16))'); \
		echo "tickstorm: see into it, and steer it: http://127.0.0.1:$(PORT)/admin/#token=$$ADMIN_TOKEN";; esac; \
	PORT=$(PORT) GAMES=$(GAMES) exec $(BIN)/uwsgi uwsgi.ini

cluster: setup ## NODES=2 nodes with Redis, nginx and bots, at http://127.0.0.1:8000 (PORT, BOTS)
	@sh deploy/packages.sh redis-server nginx:nginx-light
	@exec $(BIN)/python deploy/cluster.py --nodes $(or $(NODES),2) --port $(PORT) --bots $(or $(BOTS),24)

restart-cluster: setup ## restart the nodes of `make cluster` one by one, losing nobody
	@$(BIN)/python deploy/cluster.py --restart

test: setup lint $(DOCS_READY) ## all tests, in a real browser too
	@sh tests/chromium.sh
	@sh tests/typescript.sh >/dev/null || true
	@sh tests/socketio_client.sh >/dev/null || true
	@sh tests/nginx.sh
	@sh deploy/packages.sh redis-server faketime || true
	@sh deploy/packages.sh promtool:prometheus || true
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile

test-fast: setup ## the tests that need no server and no browser, in under a minute
	$(BIN)/python -m pytest -q --numprocesses 2 -k 'not the_page_reads' server game tests/test_fuzz.py tests/test_figures.py tests/test_object_patches.py tests/test_house.py tests/test_snapshot.py tests/test_world.py tests/test_movement.py tests/test_combat.py tests/test_wire.py tests/test_inputs.py tests/test_seats.py tests/test_config.py

marks: setup ## what is promised in absolute time, measured; wants the machine for itself
	@mkdir -p results && rm -f results/marks.jsonl
	MARKS=$(CURDIR)/results/marks.jsonl $(BIN)/python -m pytest $$(grep -lE 'mark\(|pytest.mark.measured' tests/test_*.py); status=$$?; \
	$(BIN)/python -m tests.marks results/marks.jsonl; exit $$status

lint: setup ## style, common mistakes and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy server/tickstorm game
	@sh tests/javascript.sh

fuzz: setup ## what reads bytes from outside, searched for findings (SECONDS_EACH=60)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --only-binary atheris --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz all --seconds $(or $(SECONDS_EACH),60)

soak: setup ## an hour (SOAK_MINUTES=60) of churn, kills and hostile clients: nothing may grow
	$(BIN)/python -m tests.soak --minutes $(or $(SOAK_MINUTES),60)

release: setup ## the wheel of what is committed, built and checked, in dist/
	@sh deploy/release.sh $(BIN)/python

format: setup ## bring the code into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_READY) ## the documentation as a site, in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

bench: setup ## the load benchmark, 500 players for 20 s
	$(BIN)/python -m bench crowd

compare: setup ## side by side with other servers (some minutes)
	$(BIN)/python -m bench compare --json results/compare.json
	$(BIN)/python -m bench report

echo: setup ## a WebSocket echo with the same connection code, for conformance suites (PORT=9001)
	@PORT=$(or $(filter-out 8000,$(PORT)),9001) exec $(BIN)/uwsgi tests/echo.ini

clean: ## remove what was built here
	rm -rf $(VENV) build dist *.egg-info server/*.egg-info .pytest_cache .ruff_cache .hypothesis results
