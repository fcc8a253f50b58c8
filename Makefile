# slimserve: `make help` lists the commands.
#
# PROFILE=full uses all data and long measurements; the default, demo, takes minutes.
# PIP_ARGS reaches every pip install, e.g. an index of CPU-only wheels (see the README).

PROFILE ?= demo
PORT ?= 8000
GRPC_PORT ?= 9000
DATA_PORT ?= 8080
OUT ?= out/$(PROFILE)
VENV ?= .venv
BASE_PYTHON ?= python3
PIP_ARGS ?=
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
LOADTEST_PROFILE_demo := quick
LOADTEST_PROFILE_full := full
LOADTEST_PROFILE := $(LOADTEST_PROFILE_$(PROFILE))
PROTOS := serve_app/protocol/inference/messages.proto serve_app/protocol/inference/service.proto
SERVE := $(PYTHON) -m serve_app up --store $(OUT)/store --model fraud --port $(PORT) \
	--grpc-port $(GRPC_PORT) --data-port $(DATA_PORT) --state-dir $(OUT)/state

.DEFAULT_GOAL := help
.PHONY: help install demo compress compare serve original test lint format types stubs check \
	bench-compression bench-distillation bench-quantisation bench-published \
	bench-serving bench-devices profile edge-check clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | sort | expand -t 20

install: $(INSTALLED)  ## virtual environment with pinned dependencies

$(INSTALLED): constraints.txt pyproject.toml
	$(BASE_PYTHON) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet $(PIP_ARGS) -c constraints.txt pip setuptools
	$(PYTHON) -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	@touch $@

demo: compress compare  ## from transactions to a measured comparison, in minutes (PROFILE=full: hours)

compress: $(INSTALLED)  ## make, judge and publish the variants
	$(PYTHON) -m compression run compression/recipes/fraud-$(PROFILE).yaml \
		--store $(OUT)/store --work $(OUT)/work --replace

compare: $(INSTALLED)  ## serve the variants, measure each under load, write the report
	$(PYTHON) -m loadtest compare --store $(OUT)/store --model fraud --out $(OUT) \
		--profile $(LOADTEST_PROFILE) --url http://127.0.0.1:$(DATA_PORT) --serve "$(SERVE)"

serve: $(INSTALLED)  ## keep the application up on ports 8080 and 8000 (model fraud), prints a curl line
	@test -e $(OUT)/store/fraud/model.json || $(MAKE) --no-print-directory compress
	@exec $(SERVE)

original: $(INSTALLED)  ## train the original anew (an hour or two; resumes when interrupted)
	$(PYTHON) -m compression original

test: $(INSTALLED)  ## all tests (needs Debian's packages prometheus, nodejs and npm)
	$(PYTHON) -m pytest

lint: $(INSTALLED)  ## ruff: lint and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: $(INSTALLED)  ## ruff: rewrite
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: $(INSTALLED)  ## mypy --strict
	$(PYTHON) -m mypy

stubs: $(INSTALLED)  ## generate the gRPC stubs from their .proto files
	$(PYTHON) -m grpc_tools.protoc -I . --python_out=. --pyi_out=. $(PROTOS)
	$(PYTHON) -m grpc_tools.protoc -I . --grpc_python_out=. serve_app/protocol/inference/service.proto

check: lint types test  ## what CI runs

bench-compression: $(INSTALLED)  ## what every kind of compression saves, against targets (resumes; an hour)
	$(PYTHON) -m compression bench compression/recipes/fraud-bench.yaml --replace \
		--store out/bench-compression/store --work out/bench-compression/work \
		--out out/bench-compression

bench-distillation: $(INSTALLED)  ## where a teacher helps: ways to train a student, over seeds (resumes)
	$(PYTHON) -m compression study compression/study/fraud-distillation.yaml \
		--work out/bench-distillation/work --out out/bench-distillation

bench-quantisation: $(INSTALLED)  ## every way to quantise the original (resumes; a quarter of an hour)
	$(PYTHON) -m compression bench compression/recipes/fraud-quantisation.yaml --replace \
		--store out/bench-quantisation/store --work out/bench-quantisation/work \
		--out out/bench-quantisation

bench-published: $(INSTALLED)  ## the fraud data's baselines beside the published figures (minutes)
	$(PYTHON) -m compression published --out out/bench-published

bench-serving: $(INSTALLED)  ## the same int8 file here and behind four other ways (half an hour)
	@test -e out/demo/store/fraud/model.json || $(MAKE) --no-print-directory compress PROFILE=demo
	$(PYTHON) -m loadtest bench-serving --store out/demo/store --out out/bench-serving

profile: $(INSTALLED)  ## what each microsecond of a request is spent on (five minutes)
	@test -e out/demo/store/fraud/model.json || $(MAKE) --no-print-directory compress PROFILE=demo
	$(PYTHON) -m loadtest profile --store out/demo/store --out out/profile

bench-devices: $(INSTALLED)  ## a call of each variant on the CPU and on the GPU (two minutes)
	@test -e out/demo/store/fraud/model.json || $(MAKE) --no-print-directory compress PROFILE=demo
	$(PYTHON) -m serve_app devices --store out/demo/store --json out/bench-devices/results.json

edge-check: $(INSTALLED)  ## the distilled variants in onnxruntime-web against the server (needs Node)
	@test -e $(OUT)/store/fraud/model.json || $(MAKE) --no-print-directory compress
	$(PYTHON) -m tests.support.edge_check --store $(OUT)/store --out $(OUT)/edge \
		distilled distilled-int8

clean:  ## remove everything made here but the virtual environment
	rm -rf out .mypy_cache .ruff_cache .pytest_cache .hypothesis
