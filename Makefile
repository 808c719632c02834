# The commands that people and CI both use. Everything is installed into .venv, nothing outside the checkout but what
# `tuner` itself keeps under TUNER_HOME.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-benchmarks soak bench bench-whole-search bench-search lint clean

demo: export TUNER_HOME := $(CURDIR)/demo/home
demo: $(VENV)/.installed
	@# A demo that was interrupted may have left its server running on files that are about to go.
	@test ! -d demo/home || $(BIN)/tuner store stop
	@rm -rf demo && mkdir demo
	$(BIN)/tuner search digits --gpus 0 --workers 2 --trials 24 --name demo
	$(BIN)/tuner export-best demo --out demo/best
	@$(BIN)/tuner store stop
	@echo
	@echo "model and model card:   demo/best/"
	@echo "everything of the study: demo/home/"
	@echo "look again:             TUNER_HOME=demo/home $(BIN)/tuner trials demo"

# The tests wait more than they compute: two at once, each file in one process, for its tests share what they start.
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not benchmark"

# That the scripts of benchmarks/speed run, in a size that takes minutes in all; needed when they or the engine change.
test-benchmarks: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m benchmark

# Ten minutes of random kills of a real search; results in benchmarks/results/soak.json.
soak: $(VENV)/.installed-test
	$(BIN)/python benchmarks/soak.py

# Search methods compared on recorded learning curves, without training; results in benchmarks/results/search_quality.json.
bench-search: $(VENV)/.installed-test
	$(BIN)/python benchmarks/search_quality/bench.py

# Speed, A against B in turns, in less than half an hour; DATA_DIR holds cifar10/train/<class>/. Tables: docs/speed.md.
bench: $(VENV)/.installed-test
	@test -n "$(DATA_DIR)" || { echo "make bench DATA_DIR=FOLDER, which holds cifar10/train/<class>/"; exit 2; }
	for question in pipeline where limit threads memory data; do \
	  $(BIN)/python benchmarks/speed/$$question.py --data-dir "$(DATA_DIR)" || exit 1; \
	done
	for question in turnover control_plane control_plane_where driver_memory reading start; do \
	  $(BIN)/python benchmarks/speed/$$question.py || exit 1; \
	done
	$(BIN)/python benchmarks/speed/speed_page.py

# The one question that takes half an hour by itself: whole searches of five minutes.
bench-whole-search: $(VENV)/.installed-test
	@test -n "$(DATA_DIR)" || { echo "make bench-whole-search DATA_DIR=FOLDER, which holds cifar10/train/<class>/"; exit 2; }
	$(BIN)/python benchmarks/speed/whole_search.py --data-dir "$(DATA_DIR)"
	$(BIN)/python benchmarks/speed/speed_page.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# A stamp is newer than what it was made from, so that a changed dependency is installed at the next call.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) -e .[test]
	@touch $@

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
