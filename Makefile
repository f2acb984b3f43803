# make demo and make test do everything on a fresh clone; nothing has to be
# installed but Python 3.11 or later and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check

.PHONY: demo test lint docs bench peers clean

demo: $(VENV)/.demo
	$(RUN) examples/demo_digits.py

test: $(VENV)/.test lint
	$(RUN) -m pytest -n auto --dist worksteal

lint: $(VENV)/.test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

docs: $(VENV)/.docs
	$(RUN) -m sphinx -b html -W --keep-going docs docs/_build/html
	$(RUN) -m sphinx -b doctest -W -q docs docs/_build/doctest

# All full benchmarks; a single one: .venv/bin/python -m benchmarks NAME
bench: $(VENV)/.bench
	for name in office_caltech digits amazon400 speed dimension importance \
	    importance_weighted_cv label_shift newsgroups boosting \
	    boosting_regression multi_source text sentiment coclustering two_stage \
	    text_speed two_sample diagnose_shift choose digits_deep deep_speed; \
	    do $(RUN) -m benchmarks $$name || exit 1; done

# One stamp for each extra: made once, and again when the requirements change.
$(VENV)/.%: pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable ".[$*]"
	touch $@

# Peers: other libraries, each in an environment of its own, for benchmarks.
# An environment is rebuilt when its requirement file is newer than its stamp.
PEERS := skada adapt

.PHONY: peers
peers: $(PEERS:%=.peers/%/.stamp)

.peers/%/.stamp: benchmarks/peers/%.txt
	python3 -m venv --clear .peers/$*
	.peers/$*/bin/python -m pip install --quiet --no-deps -r $<
	touch $@

clean:
	rm -rf $(VENV) .peers docs/_build docs/gallery docs/generated demo_output
