# promptforge: `make help` explains every target. Needs Python 3.11 or newer; everything else goes into .venv.
#
#   PYTHON=python3.12   which Python makes .venv (otherwise the first that fits)
#   UV=0                install with plain pip instead of uv
#
# SOURCES and SET are read as the shell reads words, so quote a path with a blank: SOURCES="'my list.txt' b.parquet".
# What is set here comes from the command line alone: a stray OUT in the environment changes nothing.

RECIPE := mini
SOURCES :=
AXIS :=
FIELDS :=
OUT :=
SET :=
SQL :=
FILE :=
FORMAT :=
RUN :=
ARGS :=
LABELS :=
REPORT :=
PYTEST_ARGS :=
UPGRADE :=
export RECIPE

# Where this is set, as in many containers, each process compiles Prefect anew: 2.5 s, and the suite starts dozens.
unexport PYTHONDONTWRITEBYTECODE

# FIELDS, since COLUMNS is the terminal's width. A misspelt variable would be ignored, and the wrong run made.
KNOWN := RECIPE SOURCES AXIS FIELDS OUT SET SQL FILE FORMAT RUN ARGS LABELS REPORT PYTEST_ARGS UPGRADE PYTHON UV CI
STRAY := $(filter-out $(KNOWN),$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(if $(strip $(STRAY)),$(error $(strip $(STRAY)): no such setting; there are $(KNOWN)))

BIN := .venv/bin
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
FAST := .venv/.fast-installed
MODELS := .venv/.models-installed
VLLM := .venv-vllm/.installed
CACHES := .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-fast setup-models shards query report serve miniature mini-teacher test test-models test-vllm eval-filters lint style types layers lock clean distclean

help: ## Show this list
	@awk 'BEGIN {FS = ":[^#]*## "} /^[a-z-]+:[^#]*## / { \
		sub(/ \[/, "\n                    [", $$2); printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(CORE) ## Make .venv with what a run needs; done once, and again only when requirements/ changes

setup-dev: $(DEV) ## Make .venv with what the tests and checks need as well

setup-fast: $(FAST) ## Add numba: near duplicates in compiled loops: the same rows, 2 to 3 times as fast from some 500,000 on (210 MB)

setup-models: $(MODELS) ## Add the real models' libraries and the trainer's: torch, diffusers, open_clip, EasyOCR, TensorBoard (1.7 GB; more with CUDA)

shards: $(CORE) ## Prompts in, shards out [RECIPE=mini SOURCES="a.txt b.parquet" AXIS=text_rendering FIELDS="text=prompt" OUT=folder SET="k=v"]
	@if [ -f "$$SOURCES" ]; then set -- "$$SOURCES"; else eval "set -- $$SOURCES"; fi; \
	for path; do set -- "$$@" --source "$$path"; shift; done; \
	if [ -n "$$AXIS" ]; then set -- "$$@" --axis "$$AXIS"; fi; \
	if [ -n "$$FIELDS" ]; then set -- "$$@" --columns "$$FIELDS"; fi; \
	if [ -n "$$OUT" ]; then set -- "$$@" --out "$$OUT"; fi; \
	ready=$$#; seen=0; set -f; eval "set -- \"\$$@\" $$SET"; \
	for word; do \
		seen=$$((seen + 1)); if [ $$seen -gt $$ready ]; then set -- "$$@" --set; fi; \
		set -- "$$@" "$$word"; shift; \
	done; \
	exec $(BIN)/promptforge run "$$RECIPE" "$$@"

query: $(CORE) ## Ask a run in SQL: SQL="select axis, count(*) from accepted group by all" or FILE=q.sql [FORMAT=csv RUN=folder]
	@if [ -z "$$SQL$$FILE" ]; then echo 'make query needs SQL="select ..." or FILE=q.sql' >&2; exit 2; fi; \
	set --; \
	if [ -n "$$FILE" ]; then set -- "$$@" --file "$$FILE"; fi; \
	if [ -n "$$FORMAT" ]; then set -- "$$@" --format "$$FORMAT"; fi; \
	if [ -n "$$RUN" ]; then set -- "$$@" --run "$$RUN"; fi; \
	if [ -n "$$SQL" ]; then set -- "$$@" -- "$$SQL"; fi; \
	exec $(BIN)/promptforge query "$$@"

report: $(CORE) ## Write a run's report.html anew [RUN=folder OUT=file ARGS=--open]
	@set --; if [ -n "$$RUN" ]; then set -- --run "$$RUN"; fi; if [ -n "$$OUT" ]; then set -- "$$@" --out "$$OUT"; fi; \
	exec $(BIN)/promptforge report "$$@" $(ARGS)

serve: $(CORE) ## Start a Prefect server and a worker on loopback, with the flows deployed [ARGS="--port 4300"]
	@exec $(BIN)/promptforge serve $(ARGS)

miniature: $(MODELS) ## The whole circle in a small world, on a CPU: prompts, pictures, a distilled student, the table that compares it
	@$(BIN)/promptforge run miniature --out runs/miniature
	@$(BIN)/promptforge distill miniature
	@$(BIN)/promptforge evaluate miniature

mini-teacher: $(MODELS) ## Train that world's teacher anew; some two hours on two processors [OUT=runs/mini-teacher]
	@$(BIN)/python -m promptforge.distill.miniature "$${OUT:-runs/mini-teacher}"

test: $(DEV) ## Run the whole suite of the core [PYTEST_ARGS="-k store"]
	@$(BIN)/pytest -n logical --maxprocesses 8 --dist worksteal -m "not models and not vllm" $(PYTEST_ARGS)

# Two processes at most: each holds torch and a pipeline, 1 to 2 GB.
test-models: $(DEV) $(MODELS) ## Install the models' libraries and run what needs them, on tiny models with random weights
	@$(BIN)/pytest -n logical --maxprocesses 2 --dist worksteal -m models $(PYTEST_ARGS)

test-vllm: $(VLLM) ## Opt-in: vLLM itself, on a CPU, in an environment of its own (2.5 GB); Linux, Python 3.11
	@.venv-vllm/bin/python -m pytest -m vllm tests/models/language $(PYTEST_ARGS)

eval-filters: $(CORE) ## Hold the filters against labelled sets: LABELS=folder [REPORT=out.json]
	@if [ -z "$$LABELS" ]; then echo "make eval-filters needs LABELS=folder; see benchmarks/eval_filters.py" >&2; exit 2; fi; \
	set -- "$$LABELS"; if [ -n "$$REPORT" ]; then set -- "$$@" --report "$$REPORT"; fi; \
	exec $(BIN)/python benchmarks/eval_filters.py "$$@"

lint: style types layers ## Check style, types and layers; make -k lint shows all faults at once

style: $(DEV) ## Check style and form of the code with ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(DEV) ## Check types with mypy, strict
	@$(BIN)/mypy

layers: $(DEV) ## Check that imports point one way and heavy libraries stay behind their adapters
	@$(BIN)/python .ci/layers.py

lock: $(DEV) ## Write requirements/ anew from pyproject.toml, keeping versions that still fit [UPGRADE=1: the newest]
	@for set in "dev --extra dev --group build pyproject.toml" "core -c requirements/dev.txt pyproject.toml" \
		"fast -c requirements/dev.txt --extra fast pyproject.toml" \
		"models -c requirements/dev.txt --extra train --override requirements/no-torch.txt --no-emit-package torch pyproject.toml" \
		"build -c requirements/dev.txt --group build" "uv --group uv"; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
			--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
			$${set#* } --output-file "requirements/$${set%% *}.txt" || exit 1; \
	done
	@$(BIN)/uv pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --override requirements/no-vllm-extras.txt \
		$(addprefix --no-emit-package ,torch torchaudio torchcodec torchvision triton) \
		requirements/vllm-test.in --output-file requirements/vllm-test.txt

clean: ## Remove caches and built packages; runs/ and .venv stay
	@rm -rf $(CACHES); find .ci benchmarks flows src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv and Prefect's database too; runs/ stays
	@rm -rf .venv .venv-vllm .prefect

# Everything below makes .venv. The locks name all that is installed, so nothing is resolved and nothing is built
# in isolation, where pip would fetch build tools that no lock names.

INSTALL = install() { \
	if [ "$(UV)" != 0 ] && $(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements/uv.txt && \
		VIRTUAL_ENV="$(CURDIR)/.venv" $(BIN)/uv pip install --quiet "$$@"; then return; fi; \
	if [ "$(UV)" != 0 ]; then echo "uv could not install it; plain pip does it now, in about a minute" >&2; fi; \
	$(BIN)/python -m pip install -qq "$$@"; }; \
	install --no-deps --require-hashes -r requirements/build.txt && \
	install --no-deps --require-hashes --no-build-isolation

$(CORE): requirements/build.txt requirements/core.txt requirements/uv.txt pyproject.toml | .venv/.made
	@echo "Installing what a run needs into .venv (about 1 GB on disk)" >&2
	@$(INSTALL) -r requirements/core.txt && install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements/dev.txt $(CORE)
	@echo "Installing what the tests and checks need into .venv" >&2
	@$(INSTALL) -r requirements/dev.txt
	@touch $@

$(FAST): requirements/fast.txt $(CORE)
	@echo "Installing numba into .venv (210 MB on disk)" >&2
	@$(INSTALL) -r requirements/fast.txt
	@touch $@

# Nothing of the lock may resolve, or torch would come early and with CUDA; then pip adds torch alone, for uv does not
# look into PIP_FIND_LINKS, where a machine without a GPU may offer a CPU build.
$(MODELS): requirements/models.txt requirements/torch.txt $(CORE)
	@echo "Installing the real models' libraries into .venv (1.7 GB on disk, more where torch comes with CUDA)" >&2
	@$(INSTALL) -r requirements/models.txt
	@$(BIN)/python -m pip install -qq -r requirements/torch.txt
	@touch $@

$(VLLM): requirements/vllm-test.txt requirements/torch.txt | .venv/.made
	@echo "Installing vLLM for CPUs into .venv-vllm (2.5 GB on disk, some minutes)" >&2
	@$(BIN)/python -m venv --clear .venv-vllm
	@.venv-vllm/bin/python -m pip install -qq --no-deps --require-hashes -r requirements/vllm-test.txt
	@.venv-vllm/bin/python -m pip install -qq -r requirements/torch.txt
	@.venv-vllm/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

.venv/.made:
	@fits() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	if ! fits $(BIN)/python; then \
		for found in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python) none; do \
			if fits "$$found"; then break; fi; \
		done; \
		if [ "$$found" = none ]; then \
			echo "promptforge needs Python 3.11 or newer; seen: $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
			echo "Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 2; \
		fi; \
		echo "Making .venv with $$("$$found" --version 2>&1)" >&2; \
		"$$found" -m venv --clear .venv || { \
			echo "$$found cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }; \
	fi; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@touch $@
